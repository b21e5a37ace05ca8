"""Showing a picture a little differently: another crop, mirrored, lighter or darker.

It works on decoded pixels, so that a file is decoded once and varied many times. It knows no network; what is
drawn comes from a generator that it is given, so the same generator gives the same picture.
"""

from __future__ import annotations

from math import exp, log, sqrt
from typing import TYPE_CHECKING

import numpy as np

from topwork.contracts import Array

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["CANVAS", "vary"]

CANVAS = 1.25
"""How much larger than the network's input the pixels are that variants are cut from."""
_LEAST_AREA = 0.5
"""Smallest part of the picture that a crop keeps; less would often cut off what the label is about."""
_LARGEST_STRETCH = 4 / 3
_LIGHT = 0.2
_CONTRAST = 0.2


def vary(canvas: Array, height: int, width: int, draw: np.random.Generator) -> Array:
    """Cut a random part out of ``uint8 [h, w, 3]``, mirror it half of the time, and change its light.

    The crop is that of Szegedy et al. (2015): area and proportions are drawn, log-uniformly the latter.

    Returns
    -------
    Array
        ``uint8 [height, width, 3]``.
    """
    from PIL.Image import Resampling, Transpose, fromarray

    left, top, right, bottom = _box(canvas.shape[0], canvas.shape[1], draw)
    mirrored = draw.random() < 0.5
    light, contrast = draw.uniform(-_LIGHT, _LIGHT), draw.uniform(1 - _CONTRAST, 1 + _CONTRAST)
    part: Image = fromarray(canvas).resize((width, height), Resampling.BILINEAR, (left, top, right, bottom))
    if mirrored:
        part = part.transpose(Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(part.point(_curve(light, contrast) * 3))


def _box(height: int, width: int, draw: np.random.Generator) -> tuple[float, float, float, float]:
    """Draw left, top, right, bottom of a part that fits."""
    area = draw.uniform(_LEAST_AREA, 1.0)
    stretch = exp(draw.uniform(-log(_LARGEST_STRETCH), log(_LARGEST_STRETCH)))
    part_width = min(1.0, sqrt(area * stretch)) * width
    part_height = min(1.0, sqrt(area / stretch)) * height
    left, top = draw.uniform(0, width - part_width), draw.uniform(0, height - part_height)
    return left, top, min(float(width), left + part_width), min(float(height), top + part_height)


def _curve(light: float, contrast: float) -> list[int]:
    """Return the 256 values that brightness and contrast turn each value into."""
    values = (np.arange(256) - 127.5) * contrast + 127.5 + 255 * light
    return [int(v) for v in np.clip(np.rint(values), 0, 255)]
