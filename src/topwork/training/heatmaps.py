"""Heat maps: which places of an input spoke for an answer.

Where the features are the mean of a map over its places, a linear head's score is the mean of what the head says of
each place. Nothing is approximated: these are class activation maps (Zhou et al., *Learning Deep Features for
Discriminative Localization*, 2016), to which Grad-CAM comes down for such networks. They say where the evidence lay,
at the map's coarse grain, and not that it was good evidence. This module knows no picture and no label name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topwork.contracts import Array
from topwork.errors import UsageError

__all__ = ["Peak", "class_maps", "contrast", "heat", "peak"]

_WINDOW = 0.4
"""Part of either side that a peak takes."""
_FEWEST_PLACES = 3
"""On a coarser map than this a window is no part."""


def class_maps(feature_map: Array, weight: Array) -> Array:
    """Apply the weights of a linear head to every place.

    Parameters
    ----------
    feature_map
        ``float32 [n, c, h, w]``, whose mean over ``h`` and ``w`` is the features.
    weight
        ``float32 [k, c]``.

    Returns
    -------
    ``float32 [n, k, h, w]``; the mean over the places, plus the head's bias, is the scores.
    """
    if feature_map.ndim != 4 or feature_map.shape[1] != weight.shape[-1]:
        raise UsageError(
            f"The feature map is {list(feature_map.shape)}; expected [n, {weight.shape[-1]}, h, w] for this head.",
            next_step="Take the map and the head of one and the same network.",
        )
    return np.asarray(np.einsum("nchw,kc->nkhw", feature_map, weight, optimize=True), dtype=np.float32)


def contrast(weight: Array, predicted: int, against: int | None = None) -> Array:
    """Return the weights ``[c]`` of the score by which ``predicted`` is ahead of other classes.

    Ahead of ``against``, such as the truth of a mistake; without it, ahead of the mean of all others. What speaks for
    every class alike drops out, which the weights of one class alone would show as heat.

    Parameters
    ----------
    weight
        ``float32 [k, c]`` of a head with at least two classes.
    """
    others = np.flatnonzero(np.arange(len(weight)) != predicted) if against is None else np.array([against])
    return np.asarray(weight[predicted] - weight[others].mean(axis=0))


def heat(feature_map: Array, weight_row: Array, side_px: int) -> Array:
    """Show which places raised a score.

    Parameters
    ----------
    feature_map
        Of one input, ``float32 [c, h, w]``.
    weight_row
        ``float32 [c]``, as `contrast` gives it. The bias is left out: it belongs to no place.
    side_px
        Height and width of the result.

    Returns
    -------
    ``float32 [side_px, side_px]``: 1 where a place raised the score most, 0 where it lowered it or did nothing; all 0
    where no place raised it.
    """
    places = class_maps(feature_map[None], weight_row[None])[0, 0]
    raised = np.maximum(_stretched(places, side_px), 0)
    most = raised.max()
    return np.asarray(raised / most if most > 0 else raised, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Peak:
    """The part of an input that raised a score most.

    Attributes
    ----------
    box
        Left, top, right and bottom, 0 to 1.
    share
        Of all that raised the score in this input, what lies here, 0 to 1.
    raised
        By how much this part raised the score.
    """

    box: tuple[float, float, float, float]
    share: float
    raised: float


def peak(feature_map: Array, weight_row: Array) -> Peak | None:
    """Find the window, about two fifths of each side, whose places raised a score most in all.

    Parameters
    ----------
    feature_map
        Of one input, ``float32 [c, h, w]``.
    weight_row
        ``float32 [c]``, as `contrast` gives it.

    Returns
    -------
    None where no place raised it, or where the map has fewer than 3 places to a side. Of several windows the first.
    """
    places = class_maps(feature_map[None], weight_row[None])[0, 0]
    raised = np.maximum(places.astype(np.float64), 0)
    if min(places.shape) < _FEWEST_PLACES or not raised.any():
        return None
    (h, w), size = places.shape, tuple(max(1, round(_WINDOW * n)) for n in places.shape)
    sums = np.lib.stride_tricks.sliding_window_view(raised, size).sum(axis=(2, 3))
    top, left = (int(at) for at in np.unravel_index(sums.argmax(), sums.shape))
    box = (left / w, top / h, (left + size[1]) / w, (top + size[0]) / h)
    most = float(sums[top, left])
    return Peak(box, most / float(raised.sum()), most / places.size)


def _stretched(places: Array, side_px: int) -> Array:
    """Interpolate ``[h, w]`` linearly to a square; each place stands for the middle of its cell."""
    down, across = (_weights(n, side_px) for n in places.shape)
    return np.asarray(down @ places @ across.T)


def _weights(n_cells: int, side_px: int) -> Array:
    """Return ``[side_px, n_cells]``: how much of each cell a pixel takes."""
    at = np.clip((np.arange(side_px) + 0.5) * n_cells / side_px - 0.5, 0, n_cells - 1)
    return np.asarray(np.maximum(1 - np.abs(at[:, None] - np.arange(n_cells)), 0))
