"""Whether numbers and labels of today are spread as those of then were: two-sample tests, and how far apart they are.

It knows no model and no window. Then is known by percentiles, or by counts; today by its values. Testing each of a few
numbers alone and correcting for their number finds most shifts of high-dimensional inputs (Rabanser, Günnemann &
Lipton, *Failing Loudly*, 2019, arXiv 1810.11953), and says which number it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, sqrt
from typing import Final

import numpy as np

from topwork.contracts import Array, Estimate
from topwork.evaluation.intervals import independent_difference, wilson
from topwork.evaluation.quantiles import chi_square_share

__all__ = ["Shift", "difference", "holm", "shift_of_labels", "shift_of_shares", "shift_of_values"]

_LEAST_EXPECTED: Final = 5.0
"""Labels that are expected less often are counted together, for the chi-square distribution is none of small counts."""
_RESOLUTION: Final = 0.01
"""Percentiles know a share to one in a hundred; so much of a distance may be theirs."""


@dataclass(frozen=True, slots=True)
class Shift:
    """How far two samples are apart, and how often as far by chance alone.

    Attributes
    ----------
    distance
        Largest difference between the shares below any value (Kolmogorov-Smirnov), or half the sum of the differences
        of the shares of labels (total variation); 0 to 1.
    p_value
        Chance of such a distance where nothing has changed and rows are independent.
    """

    distance: float
    p_value: float


def shift_of_values(percentiles: Array, n_then: int, values: Array) -> Shift:
    """Compare numbers ``[n]`` with the percentiles ``[101]`` of ``n_then`` numbers (Kolmogorov-Smirnov).

    The distance is looked at where the percentiles are, and lessened by what these do not know, so that the p-value is
    never too small. Equal numbers may be many.
    """
    if not len(values) or not n_then:
        return Shift(0.0, 1.0)
    steps, first, counts = np.unique(percentiles, return_index=True, return_counts=True)
    last = first + counts - 1
    ordered = np.sort(values)
    upto = np.searchsorted(ordered, steps, side="right") / len(values)
    below = np.searchsorted(ordered, steps, side="left") / len(values)
    whole = len(percentiles) - 1
    found = max(float(np.abs(upto - last / whole).max()), float(np.abs(below - first / whole).max()))
    distance = max(0.0, found - _RESOLUTION)
    return Shift(distance, _kolmogorov(distance, n_then * len(values) / (n_then + len(values))))


def _kolmogorov(distance: float, n: float) -> float:
    """Return how often a distance is exceeded by chance (Stephens 1970, for samples that are not large)."""
    size = (sqrt(n) + 0.12 + 0.11 / sqrt(n)) * distance
    if size < 0.2:
        return 1.0
    terms = ((2.0 if k % 2 else -2.0) * exp(-2 * k * k * size * size) for k in range(1, 101))
    return min(1.0, max(0.0, sum(terms)))


def shift_of_shares(then: Mapping[str, int], now: Mapping[str, int]) -> Shift:
    """Compare how often each label was given, of which every row has one (chi-square test of homogeneity)."""
    names = [*then, *(name for name in now if name not in then)]
    counts = np.array([[side.get(name, 0) for name in names] for side in (then, now)], np.float64)
    sizes = counts.sum(axis=1)
    if not sizes.all():
        return Shift(0.0, 1.0)
    shares = counts / sizes[:, None]
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    return Shift(distance, _homogeneous(counts, sizes))


def _homogeneous(counts: Array, sizes: Array) -> float:
    together = counts.sum(axis=0) / sizes.sum()
    rare = together * sizes.min() < _LEAST_EXPECTED
    grouped = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
    grouped = grouped[:, grouped.sum(axis=0) > 0]
    if grouped.shape[1] < 2:
        return 1.0
    expected = np.outer(sizes, grouped.sum(axis=0) / sizes.sum())
    statistic = float(((grouped - expected) ** 2 / expected).sum())
    return 1 - chi_square_share(statistic, grouped.shape[1] - 1)


def shift_of_labels(then: Mapping[str, int], n_then: int, now: Mapping[str, int], n_now: int) -> Shift:
    """Compare how often each label was given, of which a row may have any number: the label that moved most, corrected.

    The distance is the largest difference of a label's share; the p-value that of its own test times the number of
    labels.
    """
    if not n_then or not n_now or not then:
        return Shift(0.0, 1.0)
    each = [
        shift_of_shares(
            {"": then[name], "not": n_then - then[name]},
            {"": now.get(name, 0), "not": n_now - now.get(name, 0)},
        )
        for name in then
    ]
    p_value = min(1.0, len(each) * min(one.p_value for one in each))
    return Shift(max(one.distance for one in each), p_value)


def difference(n_then: tuple[int, int], n_now: tuple[int, int]) -> Estimate:
    """Return a share of today less that of then, of counts out of so many, with its 95 % interval."""
    return independent_difference(wilson(*n_now), wilson(*n_then))


def holm(p_values: Sequence[float], level: float) -> list[bool]:
    """Tell which of several tests are significant when the chance of any false one is to be ``level`` (Holm 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    found = [False] * len(p_values)
    for place, test in enumerate(order):
        if p_values[test] > level / (len(p_values) - place):
            break
        found[test] = True
    return found
