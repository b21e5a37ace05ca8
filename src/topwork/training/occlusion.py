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
_AGREEMENT = 1e-2
"""Of the range of the windows' scores: by so much their mean may miss the score of the whole."""


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
    places = np.zeros(tensor.shape, np.float32)
    if not len(parts):
        return places
    falls = _falls_by_window(score, tensor, parts)
    if falls is None:
        falls = float(score(tensor[None])[0]) - _told(score, np.where(parts, 0, tensor[None]))
    for part, fall in zip(parts, falls, strict=True):
        places[part] = fall / max(1, int(part.sum()))
    most = float(np.abs(places).max(initial=0.0))
    return places / most if most > 0 else places


def _told(score: Callable[[Array], Array], batch: Array) -> Array:
    return np.concatenate([score(batch[start : start + _BATCH]) for start in range(0, len(batch), _BATCH)])


def _falls_by_window(score: Callable[[Array], Array], tensor: Array, parts: Array) -> Array | None:
    """Compute anew only the windows that a part stands in, of an input ``[k, w]``.

    Returns
    -------
    None where there is one window, or where the score is not the mean of its windows' scores, each weighing as many
    places as it has something in; the whole, and the whole without a part, are compared with that.
    """
    if tensor.ndim != 2 or len(tensor) < 2:
        return None
    whole, first = _told(score, np.stack([tensor, np.where(parts[0], 0, tensor)]))
    own, sizes = _told(score, tensor[:, None]), (tensor != 0).sum(axis=1)
    number, window = np.nonzero(parts.any(axis=2))
    changed = np.where(parts[number, window], 0, tensor[window])
    n_left = (changed != 0).sum(axis=1)
    sums = np.full(len(parts), float((sizes * own).sum()))
    np.add.at(sums, number, n_left * _told(score, changed[:, None]) - (sizes * own)[window])
    total = np.full(len(parts), sizes.sum())
    np.add.at(total, number, n_left - sizes[window])
    without = sums / np.maximum(total, 1)
    mean = float((sizes * own).sum() / sizes.sum())
    off = max(abs(mean - whole), abs(without[0] - first))
    return mean - without if off <= _AGREEMENT * float(np.ptp(own)) else None


def ahead(scores: Array, output: int) -> Array:
    """Return by how much one of the scores ``[n, k]`` is ahead of the mean of the others; with one output, itself."""
    if scores.shape[1] == 1:
        return scores[:, 0]
    others = np.delete(scores, output, axis=1).mean(axis=1)
    return np.asarray(scores[:, output] - others)
