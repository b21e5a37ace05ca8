"""Whether a model's probabilities can be believed, and when it had better not answer.

It looks at the probability of the predicted class alone, for that is what an answer carries. It knows no class
by name and no currency: costs are numbers that the caller gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from topwork.contracts import Array, Estimate
from topwork.errors import UsageError
from topwork.evaluation.classification import check_scores, equal_mass_bins
from topwork.evaluation.intervals import wilson

__all__ = [
    "Abstention",
    "AbstentionPoint",
    "ReliabilityBin",
    "Threshold",
    "abstention",
    "cheapest_threshold",
    "cost_at_threshold",
    "reliability",
]

_COVERAGES = np.arange(1, 21) / 20


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Rows of about one probability: their mean ``confidence``, the share that is ``right``, how many."""

    confidence: float
    right: Estimate
    n: int


@dataclass(frozen=True, slots=True)
class AbstentionPoint:
    """What comes of answering only where the top probability is at least ``threshold``.

    ``coverage`` is the share of rows that are answered, ``accuracy`` the share of those that are right.
    """

    threshold: float
    coverage: float
    accuracy: Estimate


@dataclass(frozen=True, slots=True)
class Abstention:
    """Accuracy against coverage, from few answers to all.

    ``area`` is the mean over all rows of the accuracy that results when every row at least as confident is
    answered (1 minus the area under the risk-coverage curve of El-Yaniv & Wiener 2010); 1 is perfect, and a
    confidence that says nothing gives the plain accuracy.
    """

    points: tuple[AbstentionPoint, ...]
    area: float


@dataclass(frozen=True, slots=True)
class Threshold:
    """A rule: answer where the top probability is at least ``value``, which is infinite for never.

    Attributes
    ----------
    cost
        Expected per input, in the unit of the costs that were given.
    share_answered
        0 to 1.
    accuracy
        Of the answers; NaN where there is none.
    """

    value: float
    cost: Estimate
    share_answered: Estimate
    accuracy: Estimate


def reliability(truth: Array, probabilities: Array) -> tuple[ReliabilityBin, ...]:
    """Compare told with true: bins of about equal mass over the top probability, least confident first.

    Parameters
    ----------
    truth
        ``int64 [n]``, -1 where missing.
    probabilities
        ``[n, k]``, rows that add up to 1.

    Returns
    -------
    tuple
        About 20 rows a bin, 15 bins at most, and rows of one probability in one bin; empty without a label.

    Raises
    ------
    UsageError
        The shapes do not fit together, or a probability is not finite.
    """
    top, right = _top_and_right(truth, probabilities)
    bins = equal_mass_bins(top) if len(top) else np.zeros(0, np.int64)
    members = [bins == number for number in np.unique(bins)]
    return tuple(ReliabilityBin(float(top[m].mean()), _share(right[m]), int(m.sum())) for m in members)


def abstention(truth: Array, probabilities: Array) -> Abstention:
    """Tell the accuracy of the most confident 5 %, 10 % ... 100 % of the rows.

    Rows of equal confidence are answered together, so that a point can cover more than its step and points
    that coincide are told once.

    Parameters
    ----------
    truth, probabilities
        As for `reliability`.

    Returns
    -------
    Abstention
        Points by rising coverage; without a label there are none and the area is NaN.

    Raises
    ------
    UsageError
        The shapes do not fit together, or a probability is not finite.
    """
    top, right = _top_and_right(truth, probabilities)
    if not len(top):
        return Abstention((), float("nan"))
    levels, n_answered, n_right = _answers(top, right)
    wanted = np.ceil(_COVERAGES * len(top) - 1e-9)
    rows = np.unique(np.searchsorted(n_answered, wanted))
    points = (
        AbstentionPoint(
            float(levels[i]), n_answered[i] / len(top), wilson(int(n_right[i]), int(n_answered[i]))
        )
        for i in rows
    )
    n_each = np.diff(n_answered, prepend=0)
    return Abstention(tuple(points), float((n_each * n_right / n_answered).sum() / len(top)))


def cheapest_threshold(
    truth: Array, probabilities: Array, cost_of_error: float, cost_of_abstaining: float
) -> Threshold:
    """Choose the probability from which on to answer, so that errors and silence together cost least.

    A threshold that was chosen on rows looks too good on them: choose it on the validation rows, then ask
    `cost_at_threshold` on the test rows. Between equals the one that answers more is chosen.

    Parameters
    ----------
    truth, probabilities
        As for `reliability`.
    cost_of_error, cost_of_abstaining
        Of one wrong answer, and of one input that is left unanswered; in one unit, not negative.

    Returns
    -------
    Threshold
        One of the probabilities told, or infinite where to answer nothing is cheapest.

    Raises
    ------
    UsageError
        There is no labelled row, a cost is negative or not finite, or the shapes do not fit together.
    """
    _check_costs(cost_of_error, cost_of_abstaining)
    top, right = _top_and_right(truth, probabilities)
    if not len(top):
        raise UsageError(
            "Got no labelled row; a threshold cannot be chosen on nothing.",
            next_step="Pass rows whose truth is known.",
        )
    levels, n_answered, n_right = _answers(top, right)
    costs = cost_of_error * (n_answered - n_right) + cost_of_abstaining * (len(top) - n_answered)
    cheapest = int(np.flatnonzero(costs == costs.min())[-1])
    value = float(levels[cheapest]) if costs[cheapest] <= cost_of_abstaining * len(top) else float("inf")
    return cost_at_threshold(truth, probabilities, value, cost_of_error, cost_of_abstaining)


def cost_at_threshold(
    truth: Array, probabilities: Array, threshold: float, cost_of_error: float, cost_of_abstaining: float
) -> Threshold:
    """Tell what a threshold costs per input on these rows.

    The interval adds the squared distances of the two Wilson intervals, of the share that is answered wrongly
    and the share that is not answered, with the correlation of two cells of a multinomial (MOVER: Zou & Donner
    2008).

    Parameters
    ----------
    truth, probabilities, cost_of_error, cost_of_abstaining
        As for `cheapest_threshold`.
    threshold
        Answer where the top probability is at least this.

    Raises
    ------
    UsageError
        A cost is negative or not finite, or the shapes do not fit together.
    """
    _check_costs(cost_of_error, cost_of_abstaining)
    top, right = _top_and_right(truth, probabilities)
    answered = top >= threshold
    wrong, silent = _share(answered & ~right), _share(~answered)
    return Threshold(
        value=threshold,
        cost=_cost(wrong, silent, cost_of_error, cost_of_abstaining),
        share_answered=_share(answered),
        accuracy=_share(right[answered]),
    )


def _cost(wrong: Estimate, silent: Estimate, of_error: float, of_abstaining: float) -> Estimate:
    """Add up two shares of one whole, each at its price."""
    value = of_error * wrong.value + of_abstaining * silent.value
    spread = wrong.value * (1 - wrong.value) * silent.value * (1 - silent.value)
    correlation = -wrong.value * silent.value / sqrt(spread) if spread > 0 else 0.0
    below = (of_error * (wrong.value - wrong.low), of_abstaining * (silent.value - silent.low))
    above = (of_error * (wrong.high - wrong.value), of_abstaining * (silent.high - silent.value))
    low, high = (sqrt(a * a + b * b + 2 * correlation * a * b) for a, b in (below, above))
    if value != value:
        return Estimate(value, 0.0, max(of_error, of_abstaining))
    return Estimate(value, max(0.0, value - low), min(max(of_error, of_abstaining), value + high))


def _top_and_right(truth: Array, probabilities: Array) -> tuple[Array, Array]:
    """Return the top probability and whether it is that of the truth, of the labelled rows ``[n labelled]``."""
    check_scores(truth, probabilities)
    known = truth >= 0
    return probabilities[known].max(axis=1), probabilities[known].argmax(axis=1) == truth[known]


def _answers(top: Array, right: Array) -> tuple[Array, Array, Array]:
    """Return the distinct top probabilities from high to low, and how many rows reach each, all and right."""
    levels, level_of = np.unique(-top, return_inverse=True)
    n_each, right_each = (np.bincount(level_of, weights=w, minlength=len(levels)) for w in (None, right))
    return -levels, np.cumsum(n_each), np.cumsum(right_each)


def _share(hits: Array) -> Estimate:
    return wilson(int(hits.sum()), len(hits))


def _check_costs(of_error: float, of_abstaining: float) -> None:
    if not (0 <= of_error < float("inf") and 0 <= of_abstaining < float("inf")):
        raise UsageError(
            f"Got the costs {of_error} of an error and {of_abstaining} of abstaining; expected 0 or more.",
            next_step="Give both in one unit, such as minutes of work or money.",
        )
