"""How sure a number is: intervals for proportions, for means of them, and for anything else by resampling.

It knows no metric. Two rules choose between the methods: a proportion gets Wilson's interval, which stays
honest with ten rows or a perfect score; everything else gets a bootstrap that resamples within the strata.
"""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from topwork.contracts import Array, Estimate
from topwork.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "correlated_difference",
    "independent_difference",
    "interval_of_draws",
    "mean_of_independent",
    "paired_difference",
    "resample",
    "stratified_bootstrap",
    "wilson",
]

_DRAWS_AT_MOST = 20_000_000
"""Row draws that one bootstrap may cost, well under a second; beyond, there are fewer resamples."""

_CELLS_AT_ONCE = 2_000_000
"""Weights held in memory at a time, 8 MB as float32: the chunk stays near the CPU's cache."""


def wilson(successes: int, n: int, level: float = 0.95) -> Estimate:
    """Estimate a proportion from ``successes`` out of ``n``.

    Wilson's score interval (Wilson 1927) keeps its coverage for small ``n`` and never has width zero,
    which is why it is preferred to the textbook interval (Brown, Cai & DasGupta 2001).

    Parameters
    ----------
    successes, n
        Counts, ``0 <= successes <= n``.
    level
        Coverage, between 0 and 1.

    Returns
    -------
    Estimate
        Between 0 and 1; for ``n == 0`` the value is NaN and the interval 0 to 1.

    Raises
    ------
    UsageError
        ``successes`` is not between 0 and ``n``.
    """
    if not 0 <= successes <= n:
        raise UsageError(
            f"Got {successes} successes out of {n}; expected a count between 0 and {n}.",
            next_step="Pass the number of rows that are right, and the number of rows.",
        )
    if n == 0:
        return Estimate(float("nan"), 0.0, 1.0)
    z2 = _quantile(level) ** 2
    share = successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # At 0 and at n the bound is exactly the value; only rounding says otherwise.
    return Estimate(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def mean_of_independent(parts: Iterable[Estimate]) -> Estimate:
    """Estimate the unweighted mean of independent estimates; parts whose value is NaN are left out.

    Adds the squared distances to each bound (MOVER: Newcombe 1998, Zou & Donner 2008), and takes half the
    parts' widths where that is more. Wilson's interval of a perfect class has no room above, and without it
    the mean over 20 classes of 7 rows would cover 86 % instead of 95 %. Neither bound goes past the mean of
    the parts' bounds.
    """
    known = [p for p in parts if p.is_known]
    if not known:
        return Estimate(float("nan"), 0.0, 1.0)
    k = len(known)
    value = sum(p.value for p in known) / k
    half = sqrt(sum((p.high - p.low) ** 2 for p in known)) / 2
    below = max(half, sqrt(sum((p.value - p.low) ** 2 for p in known))) / k
    above = max(half, sqrt(sum((p.high - p.value) ** 2 for p in known))) / k
    lowest, highest = sum(p.low for p in known) / k, sum(p.high for p in known) / k
    return Estimate(value, max(lowest, value - below), min(highest, value + above))


def independent_difference(a: Estimate, b: Estimate) -> Estimate:
    """Estimate a minus b, where the two come from different rows.

    Out of Wilson's intervals this makes Newcombe's hybrid score interval (1998, Statistics in Medicine 17,
    873-890, method 10), which keeps its coverage in small groups.
    The value is NaN where either is, and the interval then all that the parts allow.
    """
    return correlated_difference(a, b, 0.0)


def correlated_difference(a: Estimate, b: Estimate, correlation: float) -> Estimate:
    """Estimate a minus b out of their intervals and the correlation of their errors, 0 to 1.

    Adds the squared distances to the bounds, less what the two have in common (MOVER: Zou & Donner 2008, Statistics
    in Medicine 27, 1693-1702). The value is NaN where either is, and the interval then all that the parts allow.
    """
    value = a.value - b.value
    if value != value:
        return Estimate(value, a.low - b.high, a.high - b.low)

    def distance(of_a: float, of_b: float) -> float:
        return sqrt(max(0.0, of_a**2 + of_b**2 - 2 * correlation * of_a * of_b))

    below = distance(a.value - a.low, b.high - b.value)
    above = distance(a.high - a.value, b.value - b.low)
    return Estimate(value, value - below, value + above)


def paired_difference(n_only_a: int, n_only_b: int, n: int, level: float = 0.95) -> Estimate:
    """Estimate the difference of two proportions that were counted on the same ``n`` rows.

    Tango's score interval (1998, Statistics in Medicine 17, 891-908): the differences that a score test on
    the rows where the two disagree does not reject. It is no point where they never disagree: it is then
    as wide as Wilson's interval for no success is on either side.

    Parameters
    ----------
    n_only_a, n_only_b
        Rows that are right with a alone, and with b alone.
    n
        All rows, those too where both are right or both wrong.
    level
        Coverage, between 0 and 1.

    Returns
    -------
    Estimate
        a minus b, between -1 and 1; for ``n == 0`` the value is NaN and the interval -1 to 1.

    Raises
    ------
    UsageError
        The counts are negative or add up to more than ``n``.
    """
    if min(n_only_a, n_only_b) < 0 or n_only_a + n_only_b > n:
        raise UsageError(
            f"Got {n_only_a} and {n_only_b} rows of disagreement out of {n}; expected counts within {n}.",
            next_step="Pass the rows that one alone has right, the rows that the other has, and all rows.",
        )
    if n == 0:
        return Estimate(float("nan"), -1.0, 1.0)
    z = _quantile(level)
    low = -_highest_difference(n_only_b, n_only_a, n, z)
    high = _highest_difference(n_only_a, n_only_b, n, z)
    return Estimate((n_only_a - n_only_b) / n, low, high)


def stratified_bootstrap(
    strata: Array,
    statistic: Callable[[Array], Array],
    *,
    seed: int,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> Estimate:
    """Estimate any statistic that accepts row weights, with a percentile interval.

    The percentile interval is chosen over BCa: BCa's acceleration needs n further evaluations (the
    jackknife), and its correction is unstable where a statistic sits at its bound, as scores often do.

    Parameters
    ----------
    strata, statistic, n_resamples
        As for `resample`; the statistic gives ``[b]``.
    level
        Coverage, between 0 and 1.
    """
    n = len(strata)
    if n == 0:
        return Estimate(float("nan"), float("-inf"), float("inf"))
    value = float(statistic(np.ones((1, n), np.float32))[0])
    return interval_of_draws(value, resample(strata, statistic, seed=seed, n_resamples=n_resamples), level)


def resample(
    strata: Array, statistic: Callable[[Array], Array], *, seed: int, n_resamples: int = 1000
) -> Array:
    """Evaluate a statistic on resamples of the rows, drawn with replacement within each stratum.

    Out of a stratum of m rows, m - 1 are drawn and weighted m / (m - 1) (Rao & Wu 1988): drawing m would
    understate the variance by 1/m, much in the small classes that people have. Strata of a single row,
    which cannot vary, are put together into one.

    Parameters
    ----------
    strata
        ``int64 [n]``, the stratum of each row, ``n >= 1``; fastest where they stand sorted.
    statistic
        Takes weights ``float32 [b, n]``, the rows of one resample per line, and returns ``[b, ...]``.
    seed
        Same seed, same draws.
    n_resamples
        How many; fewer where the test set is so large that they would take long, never under 200.

    Returns
    -------
    Array
        ``[n_resamples, ...]``.
    """
    rng = np.random.default_rng(seed)
    groups = _groups(strata)
    chunks = _chunks(len(strata), n_resamples)
    return np.concatenate([np.asarray(statistic(_weights(groups, len(strata), b, rng))) for b in chunks])


def interval_of_draws(value: float, draws: Array, level: float = 0.95) -> Estimate:
    """Cut the middle ``level`` out of the resampled values ``[b]``; the interval holds ``value``."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def _quantile(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)


def _highest_difference(b: int, c: int, n: int, z: float) -> float:
    """Return the highest difference at which Tango's statistic stays within ``z``, by bisection."""
    low, high = (b - c) / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        # The likeliest share of rows that b alone has right, were the difference `middle`.
        linear = (2 * n - b + c) * middle - b - c
        share = (sqrt(linear**2 + 8 * n * c * middle * (1 - middle)) - linear) / (4 * n)
        variance = n * (2 * share + middle * (1 - middle))
        inside = n * middle - (b - c) <= z * sqrt(max(variance, 0.0))
        low, high = (middle, high) if inside else (low, middle)
    return low


def _groups(strata: Array) -> list[Array]:
    """Return the row numbers of each stratum, the single rows put together."""
    order = np.argsort(strata, kind="stable")
    starts = np.flatnonzero(np.diff(strata[order])) + 1
    groups = np.split(order, starts)
    singles = [g for g in groups if len(g) == 1]
    return [g for g in groups if len(g) > 1] + ([np.concatenate(singles)] if singles else [])


def _chunks(n: int, n_resamples: int) -> Iterator[int]:
    """Yield how many resamples of ``n`` rows to make at a time."""
    left = min(n_resamples, max(200, _DRAWS_AT_MOST // n))
    at_once = max(1, _CELLS_AT_ONCE // n)
    while left > 0:
        yield min(at_once, left)
        left -= at_once


def _weights(groups: list[Array], n: int, b: int, rng: np.random.Generator) -> Array:
    """Return ``float32 [b, n]``: how often each row was drawn, scaled so that each stratum keeps its size."""
    weights = np.ones((b, n), np.float32)
    for rows in (g for g in groups if len(g) > 1):
        m = len(rows)
        drawn = rng.integers(0, m, size=(b, m - 1)) + np.arange(b)[:, None] * m
        counts = np.bincount(drawn.ravel(), minlength=b * m).reshape(b, m)
        weights[:, _span(rows)] = counts * np.float32(m / (m - 1))
    return weights


def _span(rows: Array) -> Array | slice:
    """Return neighbouring rows as a slice, which NumPy writes several times faster."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == len(rows) else rows
