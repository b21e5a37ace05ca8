"""What of an input drives a score, found by taking its parts away one at a time (Zeiler & Fergus, arXiv 1311.2901).

For inputs whose parts can be gone, as a word of a text can. A part is as warm as the score falls without it. It needs
no more than scores, and knows no network and no words.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from topwork.contracts import Array

__all__ = ["ahead", "warmth"]

_BATCH = 16


def warmth(score: Callable[[Array], Array], tensor: Array, parts: Array) -> Array:
    """Return by how much a score falls without each part of an input.

    Parameters
    ----------
    score
        Maps a batch ``[n, ...]`` of tensors to ``[n]``.
    tensor
        The input, as it is decoded.
    parts
        ``bool [m, ...]`` over the places of ``tensor``.

    Returns
    -------
    ``float32 [...]`` over the places of the tensor, the largest of them 1 or -1: above 0 where what is there spoke for
    the score, below where against. The places of a part share its fall.
    """
    without = np.where(parts, 0, tensor[None]).astype(tensor.dtype)
    told = [score(without[start : start + _BATCH]) for start in range(0, len(without), _BATCH)]
    falls = float(score(tensor[None])[0]) - np.concatenate([np.zeros(0), *told])
    places = np.zeros(tensor.shape, np.float32)
    for part, fall in zip(parts, falls, strict=True):
        places[part] = fall / max(1, int(part.sum()))
    most = float(np.abs(places).max(initial=0.0))
    return places / most if most > 0 else places


def ahead(scores: Array, output: int) -> Array:
    """Return by how much one of the scores ``[n, k]`` is ahead of the mean of the others; with one output, itself."""
    if scores.shape[1] == 1:
        return scores[:, 0]
    others = np.delete(scores, output, axis=1).mean(axis=1)
    return np.asarray(scores[:, output] - others)
