"""Describing a picture by hand-made numbers: the classical baseline that no pretrained network is in.

Histograms of oriented gradients (Dalal & Triggs 2005) say what shapes there are, histograms of hue and of light
what colours. It knows no label and no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from topwork.contracts import Array

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["SIDE_PX", "describe", "stack"]

SIDE_PX = 64
"""The picture is squashed to this size first; the cells of the histograms are 8 by 8 pixels."""
_CELL_PX = 8
_N_DIRECTIONS = 9
_N_TONES = 16
_QUIET = 1e-6


def describe(picture: Image) -> Array:
    """Return ``float32 [m]`` for an RGB picture of 64 by 64 pixels, each part of length at most 1."""
    grey = np.asarray(picture.convert("L"), np.float32) / 255
    tones = np.asarray(picture.convert("HSV"), np.uint8)
    histograms = [np.bincount(tones[..., i].ravel() >> 4, minlength=_N_TONES) for i in range(3)]
    colour = np.concatenate(histograms) / tones[..., 0].size
    return np.concatenate([_oriented_gradients(grey), np.sqrt(colour)]).astype(np.float32)


def _oriented_gradients(grey: Array) -> Array:
    """Return histograms of unsigned gradient directions per cell, normalised over blocks of 2 by 2 cells."""
    down, right = np.gradient(grey)
    strength, angle = np.hypot(down, right), np.arctan2(down, right) % np.pi
    place = angle / np.pi * _N_DIRECTIONS
    lower = np.floor(place).astype(np.int64) % _N_DIRECTIONS
    share = place - np.floor(place)
    n = grey.shape[0] // _CELL_PX
    rows, columns = (i // _CELL_PX for i in np.indices(grey.shape))
    cells = np.zeros((n, n, _N_DIRECTIONS))
    np.add.at(cells, (rows, columns, lower), strength * (1 - share))
    np.add.at(cells, (rows, columns, (lower + 1) % _N_DIRECTIONS), strength * share)
    blocks = np.stack([cells[i : n - 1 + i, j : n - 1 + j] for i in (0, 1) for j in (0, 1)], axis=2).reshape(
        n - 1, n - 1, -1
    )
    length = np.sqrt((blocks**2).sum(-1, keepdims=True) + _QUIET)
    return np.asarray((blocks / length).ravel())


def stack(described: Sequence[Array | str]) -> Array:
    """Return ``float32 [n, m]`` of what `describe` gave; a picture that could not be described is all zeros."""
    arrays = [np.zeros(0, np.float32) if isinstance(one, str) else one for one in described]
    width = max((len(one) for one in arrays), default=0)
    return np.stack([one if len(one) else np.zeros(width, np.float32) for one in arrays])
