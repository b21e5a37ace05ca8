"""How good predictions of a number are: R², the usual errors, and how often a prediction interval holds the truth.

Truth and predictions are ``float [n]`` in one unit; a truth of NaN is missing, and such rows are left out everywhere.
Errors are positive and skewed, so their intervals are Student's on the log scale, with the standard error of a mean
or of a ratio of means (the delta method: Cochran, *Sampling Techniques*, 3rd ed., 1977, 6.5). Nothing is drawn at
random. It knows no data set, and no unit by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, inf, log, nan, sqrt

import numpy as np

from topwork.contracts import Array, Estimate, known_rows
from topwork.errors import UsageError
from topwork.evaluation.comparison import mean_by_t, standard_error
from topwork.evaluation.intervals import wilson
from topwork.evaluation.quantiles import t_quantile

__all__ = ["compare_regression", "interval_metrics", "regression_metrics"]

_NOTHING = {"r2": Estimate(nan, -inf, 1.0), "rmse": Estimate(nan, 0.0, inf), "mae": Estimate(nan, 0.0, inf)}
"""What is known without a row that has a truth."""


def regression_metrics(truth: Array, predicted: Array, *, unit: float = 1.0) -> Mapping[str, Estimate]:
    """Compare truth with predictions; every metric with its 95 % interval.

    Parameters
    ----------
    truth, predicted
        ``float [n]``.
    unit
        What one of them is in the unit that errors are told in, such as the training data's standard deviation.

    Returns
    -------
    Mapping
        ``r2``: 1 minus the squared error over that of the truth's own mean, which is 0 for no better than that
        mean, 1 for perfect, and NaN where the truth does not vary. ``rmse`` and ``mae``: root of the mean squared
        and mean absolute error, in the unit.

    Raises
    ------
    UsageError
        The lengths differ, or a prediction is not finite.
    """
    truth, predicted = _known(truth, predicted)
    if not len(truth):
        return _NOTHING
    squares, spread = (truth - predicted) ** 2, (truth - truth.mean()) ** 2
    return {
        "r2": _one_minus_ratio(squares, spread),
        "rmse": _scaled(_rooted(_positive_mean(squares)), unit),
        "mae": _scaled(_positive_mean(np.sqrt(squares)), unit),
    }


def compare_regression(
    truth: Array, predicted_a: Array, predicted_b: Array, *, unit: float = 1.0
) -> Mapping[str, Estimate]:
    """Estimate how much more each metric of `regression_metrics` is for a than for b, on the same rows.

    Each has Student's interval of its linearised difference, paired row by row.

    Raises
    ------
    UsageError
        The lengths differ, or a prediction is not finite.
    """
    truth, a, b = _known(truth, predicted_a, predicted_b)
    if not len(truth):
        return dict.fromkeys(_NOTHING, Estimate(nan, -inf, inf))
    spread, of_a, of_b = (truth - truth.mean()) ** 2, (truth - a) ** 2, (truth - b) ** 2
    return {
        "r2": _ratio(of_b - of_a, spread),
        "rmse": _scaled(_root_difference(of_a, of_b), unit),
        "mae": _scaled(mean_by_t(np.sqrt(of_a) - np.sqrt(of_b)), unit),
    }


def interval_metrics(
    truth: Array, predicted: Array, half_width: float, *, unit: float = 1.0
) -> Mapping[str, Estimate]:
    """Tell what share of the truth lies within ``half_width`` of its prediction, and how wide that interval is.

    Parameters
    ----------
    half_width
        In the unit of truth and predictions.

    Returns
    -------
    Mapping
        ``coverage``, 0 to 1, with Wilson's interval; ``interval_width`` in ``unit``, the same for every row and
        therefore known exactly.
    """
    truth, predicted = _known(truth, predicted)
    inside, width = np.abs(truth - predicted) <= half_width, 2 * half_width * unit
    return {
        "coverage": wilson(int(inside.sum()), len(truth)),
        "interval_width": Estimate(width, width, width),
    }


def _known(truth: Array, *predicted: Array) -> tuple[Array, ...]:
    """Return the rows that have a truth, in an order that does not depend on theirs, as ``float64``."""
    for one in predicted:
        if len(one) != len(truth) or not np.isfinite(one).all():
            raise UsageError(
                f"Got {len(truth)} true values and {int(np.isfinite(one).sum())} finite predictions of {len(one)}; "
                "expected one for each.",
                next_step="Look for inputs that the network cannot handle, or for a fit that diverged.",
            )
    known = known_rows(truth)
    columns = tuple(np.asarray(one, np.float64)[known] for one in (truth, *predicted))
    # Sums depend on the order of what is added, in their last digits; so the order is that of the values.
    order = np.lexsort(columns[::-1])
    return tuple(one[order] for one in columns)


def _positive_mean(values: Array) -> Estimate:
    """Estimate the mean of values that are never negative, by Student's interval of its logarithm."""
    mean = float(values.mean())
    if mean == 0:
        return Estimate(0.0, 0.0, 0.0 if len(values) > 1 else inf)
    return _around(mean, standard_error(values) / mean, len(values))


def _around(value: float, error: float, n: int) -> Estimate:
    """Return the interval of a positive value whose logarithm has this standard error."""
    if n < 2:
        return Estimate(value, 0.0, inf)
    half = t_quantile(0.975, n - 1) * error
    return Estimate(value, value * exp(-half), value * exp(min(half, log(1e300) - log(max(value, 1)))))


def _rooted(squares: Estimate) -> Estimate:
    return Estimate(sqrt(squares.value), sqrt(squares.low), sqrt(squares.high))


def _one_minus_ratio(squares: Array, spread: Array) -> Estimate:
    """Estimate R²."""
    error, total = float(squares.mean()), float(spread.mean())
    if total == 0:
        return _NOTHING["r2"]
    if error == 0:
        return Estimate(1.0, 1.0 if len(squares) > 1 else -inf, 1.0)
    ratio = _around(error / total, standard_error(squares / error - spread / total), len(squares))
    return Estimate(1 - ratio.value, 1 - ratio.high, 1 - ratio.low)


def _ratio(above: Array, below: Array) -> Estimate:
    """Estimate a ratio of two means that may be of any sign, the lower one positive."""
    total = float(below.mean())
    if total == 0:
        return Estimate(nan, -inf, inf)
    found = float(above.mean()) / total
    return mean_by_t((above - found * below) / total, found)


def _root_difference(of_a: Array, of_b: Array) -> Estimate:
    """Estimate the difference of two roots of means, each linearised where it is."""
    a, b = (sqrt(float(one.mean())) for one in (of_a, of_b))
    parts = [one / (2 * root) if root else np.zeros(len(one)) for one, root in ((of_a, a), (of_b, b))]
    return mean_by_t(parts[0] - parts[1], a - b)


def _scaled(estimate: Estimate, unit: float) -> Estimate:
    return Estimate(estimate.value * unit, estimate.low * unit, estimate.high * unit)
