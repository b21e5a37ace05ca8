"""How much a result depends on luck: the spread of a metric over seeds, and whether one spread is larger.

The intervals are those of normally distributed values: a standard deviation of five runs is unsure by a factor
of three, and they say so. It knows neither what was run nor what the metric means.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from topwork.contracts import Array, Estimate
from topwork.errors import UsageError
from topwork.evaluation.quantiles import chi_square_quantile, f_quantile, t_quantile

__all__ = ["Spread", "spread", "variance_ratio"]


@dataclass(frozen=True, slots=True)
class Spread:
    """A metric over ``n`` seeds: its mean, and the standard deviation of a single run, in its own unit."""

    mean: Estimate
    deviation: Estimate
    n: int


def spread(values: Array, *, step: float = 0.0) -> Spread:
    """Estimate mean and standard deviation of a metric over seeds.

    Student's interval for the mean, the chi-square interval for the deviation.

    Parameters
    ----------
    values
        ``float [n]``, one per seed, two at least.
    step
        The smallest change that the metric can show, such as 1 over the number of test rows. Runs that look
        equal can differ by as much as its rounding hides (step² / 12, Sheppard 1898): the upper bound of the
        deviation says so.

    Raises
    ------
    UsageError
        There are fewer than two values, or one is not finite.
    """
    values = _checked(values)
    freedom, mean, variance = len(values) - 1, float(values.mean()), float(values.var(ddof=1))
    half = t_quantile(0.975, freedom) * sqrt(variance / len(values))
    low, high = (sqrt(freedom * variance / chi_square_quantile(share, freedom)) for share in (0.975, 0.025))
    hidden = max(variance, step**2 / 12)
    high = max(high, sqrt(freedom * hidden / chi_square_quantile(0.025, freedom)))
    return Spread(Estimate(mean, mean - half, mean + half), Estimate(sqrt(variance), low, high), len(values))


def variance_ratio(a: Array, b: Array, *, step: float = 0.0) -> Estimate:
    """Estimate the variance of a over that of b, with the F interval; where it holds 1, nothing is shown.

    Parameters
    ----------
    a, b
        ``float [n]`` and ``[m]``, one value per seed, two at least of each.
    step
        The smallest change that the metric can show, as for `spread`: either variance may be as large as what its
        rounding hides, and the bounds say so.

    Returns
    -------
    Estimate
        0 to infinity; where the values of b are all equal the ratio is infinite, or NaN if those of a are too,
        and the interval everything that is possible.

    Raises
    ------
    UsageError
        There are fewer than two values, or one is not finite.
    """
    a, b = _checked(a), _checked(b)
    above, below = float(a.var(ddof=1)), float(b.var(ddof=1))
    if below == 0:
        return Estimate(float("inf") if above else float("nan"), 0.0, float("inf"))
    low, high = (f_quantile(share, len(a) - 1, len(b) - 1) for share in (0.975, 0.025))
    hidden = step**2 / 12
    return Estimate(above / below, above / max(below, hidden) / low, max(above, hidden) / below / high)


def _checked(values: Array) -> Array:
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise UsageError(
            f"Got {values.tolist()}; expected two or more numbers, one per seed.",
            next_step="Run the same fit with at least two seeds.",
        )
    return values
