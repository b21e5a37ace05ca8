"""Which learning rate a sweep speaks for: four readings of the same curve, and each has its own idea of what is good.

The four are those of fastai's ``lr_find`` (Howard and Gugger, *fastai: A Layered API for Deep Learning*,
arXiv 2002.04688). They take rates ``[n]``, rising, and the smoothed losses ``[n]`` at them. They know no network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from topwork.contracts import Array
from topwork.errors import DataError

__all__ = ["SUGGESTIONS", "minimum", "slide", "steep", "suggest", "valley"]

_LEAST_POINTS, _END = 3, 5
_SLIDE_WIDTH, _SLIDE_EVEN = 15, 0.005


def valley(rates: Array, losses: Array) -> float:
    """Return the rate half way down the longest valley.

    The valley is the longest run of losses, not necessarily neighbours, each lower than the one before. It ends where
    the run ends and began as many points earlier as the run has; the rate is that at its middle third's middle: a third
    and half a third, each rounded down, after the beginning.
    """
    longest = _runs_down(losses)
    end = int(longest.argmax())
    begin = max(0, end - int(longest[end]))
    third = (end - begin) / 3
    return float(rates[begin + int(third) + int(third / 2)])


def _runs_down(losses: Array) -> Array:
    """Return for each point how many points the longest falling run has that ends there, itself among them."""
    longest = np.ones(len(losses), dtype=np.int64)
    for i in range(1, len(losses)):
        higher = longest[:i][losses[:i] > losses[i]]
        longest[i] = 1 + higher.max(initial=0)
    return longest


def slide(rates: Array, losses: Array) -> float:
    """Return the rate before the loss begins to climb, found by an interval that slides down from the highest rates.

    Two points 15 apart move to lower rates together while the slopes of the loss at them differ by more than 0.005
    from point to point; the rate is that of the lower point at the last place where they did. On a curve of fewer
    points the interval is as wide as the curve.
    """
    slope = np.gradient(losses)
    right = len(losses) - 1
    left = max(0, right - _SLIDE_WIDTH)
    found = left
    while left >= 0 and abs(slope[right] - slope[left]) > _SLIDE_EVEN:
        found, left, right = left, left - 1, right - 1
    return float(rates[found])


def minimum(rates: Array, losses: Array) -> float:
    """Return a tenth of the rate at which the loss is lowest: there it is about to rise already."""
    return float(rates[int(losses.argmin())]) / 10


def steep(rates: Array, losses: Array) -> float:
    """Return the rate at which the loss falls fastest, over the logarithm of the rate, from one point to the next."""
    return float(rates[int((np.diff(losses) / np.diff(np.log(rates))).argmin())])


SUGGESTIONS: Final[Mapping[str, Callable[[Array, Array], float]]] = MappingProxyType(
    {"valley": valley, "slide": slide, "minimum": minimum, "steep": steep}
)


def suggest(rates: Array, losses: Array) -> dict[str, float]:
    """Return every suggestion by name; the first tenth of the curve and its last five points have no say.

    The running mean is of few steps at the beginning, and the end is where it explodes. What comes after a loss that
    is no number has no say either.

    Raises
    ------
    DataError
        Fewer than three points are left.
    """
    finite = np.isfinite(losses)
    end = len(losses) if finite.all() else int(finite.argmin())
    some = slice(end // 10, max(0, end - _END))
    if len(losses[some]) < _LEAST_POINTS:
        raise DataError(
            f"The sweep has {len(losses[some])} losses that can be read; expected at least {_LEAST_POINTS}.",
            next_step="Give it more steps with --steps, or begin at lower rates.",
        )
    return {name: read(rates[some], losses[some]) for name, read in SUGGESTIONS.items()}
