"""How good answers out of ordered classes are: how many ranks they are off, and what their probabilities are worth.

Truth is ``int64 [n]`` with ranks from 0 to k - 1, and -1 where one is missing: such rows are left out everywhere.
Score ``j`` of ``float [n, k - 1]`` is the log odds that the rank is above ``j``. Each threshold has a direction of
its own, so that one input's odds need not fall from threshold to threshold; the running minimum makes them. It knows
no class by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, nan

import numpy as np

from topwork.contracts import Array, Estimate
from topwork.errors import UsageError
from topwork.evaluation.classification import check_scores, row_losses
from topwork.evaluation.comparison import mean_by_t
from topwork.evaluation.intervals import interval_of_draws, paired_difference, resample, wilson

__all__ = [
    "Doubt",
    "compare_ordinal",
    "exceeded",
    "median_ranks",
    "ordinal_metrics",
    "rank_probabilities",
]

_NOTHING = {
    "rank_error": Estimate(nan, 0.0, inf),
    "quadratic_weighted_kappa": Estimate(nan, -1.0, 1.0),
    "accuracy": Estimate(nan, 0.0, 1.0),
    "log_loss": Estimate(nan, 0.0, inf),
}
"""What is known without a row that has a truth."""
_ROUNDS = 200


def exceeded(truth: Array, n_thresholds: int) -> Array:
    """Return which thresholds each rank lies above, ``int8 [n, n_thresholds]``; -1 throughout where it is missing."""
    above = (truth[:, None] > np.arange(n_thresholds)).astype(np.int8)
    return np.where(truth[:, None] < 0, np.int8(-1), above)


@dataclass(frozen=True, slots=True)
class Doubt:
    """How much of the probability is dealt by the shares of the ranks, so that none is without a chance.

    Where the odds of an input do not fall, the ranks between have no chance at all, which rows like it disprove.

    Attributes
    ----------
    shares
        Of the ranks in training, ``k`` of them.
    part
        From 0 to 1.
    """

    shares: tuple[float, ...]
    part: float

    @classmethod
    def of(cls, truth: Array, scores: Array, shares: tuple[float, ...]) -> Doubt:
        """Return the doubt at which the log loss of held-out rows is lowest; they must have a truth.

        They are joined by one row whose rank had no chance, so that the doubt is never 0, as in the rule of succession.
        The likelihood of a part in a mixture has one maximum, where expectation-maximisation comes to rest.
        """
        own = np.append(rank_probabilities(scores)[np.arange(len(truth)), truth], 0.0)
        usual = np.append(np.array(shares)[truth], np.mean(shares))
        part = 0.5
        for _ in range(_ROUNDS):
            part = float(np.mean(part * usual / ((1 - part) * own + part * usual)))
        return cls(shares, part)


def rank_probabilities(scores: Array, doubt: Doubt | None = None) -> Array:
    """Turn scores ``[n, k - 1]`` into the probabilities ``float64 [n, k]`` of the ranks, whose rows add up to 1."""
    falling = np.minimum.accumulate(np.asarray(scores, np.float64), axis=1)
    above = 0.5 * (1 + np.tanh(0.5 * falling))  # the logistic function, which so does not overflow
    ends = np.ones((len(above), 1)), np.zeros((len(above), 1))
    plain = np.asarray(-np.diff(np.concatenate([ends[0], above, ends[1]], axis=1), axis=1))
    return plain if doubt is None else (1 - doubt.part) * plain + doubt.part * np.array(doubt.shares)


def median_ranks(scores: Array) -> Array:
    """Return the middle rank of the probabilities, ``int64 [n]``, whose expected distance to the truth is lowest.

    Nothing is doubted here: the shares would draw all answers to the middle.
    """
    return np.asarray((np.minimum.accumulate(scores, axis=1) > 0).sum(axis=1))


def ordinal_metrics(
    truth: Array, scores: Array, *, seed: int, doubt: Doubt | None = None
) -> Mapping[str, Estimate]:
    """Compare truth with scores; every metric with its 95 % interval.

    Parameters
    ----------
    seed
        Of the bootstrap.
    doubt
        Of the probabilities, which the log loss alone asks for.

    Returns
    -------
    Mapping
        ``rank_error``, the mean absolute difference in ranks, by Student's interval; ``quadratic_weighted_kappa``
        (Cohen, *Weighted kappa*, 1968; 1 is perfect, 0 no better than chance, NaN where nothing varies) and
        ``log_loss`` (nats), by a bootstrap stratified by class; ``accuracy`` by Wilson's.

    Raises
    ------
    UsageError
        The shapes do not fit together, a rank is above k - 1, or a score is not finite.
    """
    truth, scores = _known(truth, scores)
    if not len(truth):
        return _NOTHING
    said, (value, draws) = median_ranks(scores), _drawn(_statistic(truth, scores, doubt), truth, seed)
    right = wilson(int((said == truth).sum()), len(truth))
    loss = interval_of_draws(float(value[1]), draws[:, 1])
    return {
        "rank_error": _distance(np.abs(said - truth), right, scores.shape[1]),
        "quadratic_weighted_kappa": _widened(float(value[0]), draws[:, 0], right, most=1.0),
        "accuracy": right,
        "log_loss": loss if len(truth) > 1 else Estimate(loss.value, 0.0, inf),
    }


def compare_ordinal(
    truth: Array, scores_a: Array, scores_b: Array, *, seed: int, doubt: Doubt | None = None
) -> Mapping[str, Estimate]:
    """Estimate how much more each metric of `ordinal_metrics` is for a than for b, on the same rows.

    Accuracy has Tango's score interval, rank error and log loss Student's, kappa a bootstrap that draws the same rows
    for both.

    Raises
    ------
    UsageError
        The shapes do not fit together, a rank is above k - 1, or a score is not finite.
    """
    truth, a, b = _known(truth, scores_a, scores_b)
    if not len(truth):
        return {metric: Estimate(nan, -inf, inf) for metric in _NOTHING}
    of_a, of_b = _statistic(truth, a, doubt), _statistic(truth, b, doubt)
    value, draws = _drawn(lambda weights: of_a(weights) - of_b(weights), truth, seed)
    off_a, off_b = (np.abs(median_ranks(one) - truth) for one in (a, b))
    only_a, only_b = int(((off_a == 0) & (off_b > 0)).sum()), int(((off_b == 0) & (off_a > 0)).sum())
    right = paired_difference(only_a, only_b, len(truth))
    losses = [row_losses(truth, rank_probabilities(one, doubt)) for one in (a, b)]
    return {
        "rank_error": mean_by_t((off_a - off_b).astype(np.float64)),
        "quadratic_weighted_kappa": _widened(float(value[0]), draws[:, 0], right, most=2.0),
        "accuracy": right,
        "log_loss": mean_by_t(losses[0] - losses[1]),
    }


# --- how it is done -----------------------------------------------------------------------------------


_Statistic = Callable[[Array], Array]
"""Takes weights ``[b, n]`` and gives ``[b, 2]``: kappa and log loss."""


def _statistic(truth: Array, scores: Array, doubt: Doubt | None) -> _Statistic:
    """Return kappa and log loss of weighted rows; both follow from weighted sums of six columns."""
    said, losses = (
        median_ranks(scores).astype(np.float64),
        row_losses(truth, rank_probabilities(scores, doubt)),
    )
    columns = np.stack([truth, said, truth**2, said**2, (truth - said) ** 2, losses], axis=1)

    def of(weights: Array) -> Array:
        sums = np.asarray(weights, np.float64) @ columns / weights.sum(axis=1, keepdims=True)
        true, told, true2, told2, off, loss = sums.T
        # Squared distances add up by moments: what chance would be off needs no table of all pairs of ranks.
        chance = true2 + told2 - 2 * true * told
        # Rounded, for what always says the same would be told a trace of skill by the last digits.
        kappa = np.where(chance > 1e-12, np.round(1 - off / np.maximum(chance, 1e-12), 12), nan)
        return np.stack([kappa, loss], axis=1)

    return of


def _drawn(statistic: _Statistic, truth: Array, seed: int) -> tuple[Array, Array]:
    """Return the statistic ``[2]`` of the rows, and ``[b, 2]`` of resamples of them."""
    return statistic(np.ones((1, len(truth))))[0], resample(truth, statistic, seed=seed)


def _widened(value: float, draws: Array, right: Estimate, *, most: float) -> Estimate:
    """Return the interval of draws, at least as wide as accuracy's: resamples show no mistake that no row holds."""
    draws = draws[~np.isnan(draws)]
    if np.isnan(value) or not len(draws):
        return Estimate(value, -most, most)
    drawn = interval_of_draws(value, draws)
    low, high = value - (right.value - right.low), value + (right.high - right.value)
    return Estimate(value, max(-most, min(drawn.low, low)), min(most, max(drawn.high, high)))


def _distance(off: Array, right: Estimate, most: int) -> Estimate:
    """Estimate the mean distance; where no row is off, by how many might be and how far."""
    found = mean_by_t(off.astype(np.float64))
    bound = (1 - right.low) * most
    high = bound if found.value == 0 else min(found.high, bound)
    return Estimate(found.value, max(0.0, found.low), max(found.value, high))


def _known(truth: Array, *scores: Array) -> tuple[Array, ...]:
    """Return the rows that have a truth, in an order that does not depend on theirs."""
    for one in scores:
        check_scores(truth, one)
        if one.shape != scores[0].shape or truth.max(initial=0) > one.shape[1]:
            raise UsageError(
                f"Got ranks up to {truth.max(initial=0)} and scores of shape {one.shape}; expected a score for each "
                "rank but the last.",
                next_step="Give the log odds that the rank is above each threshold.",
            )
    known = truth >= 0
    columns = [np.asarray(truth)[known, None], *(np.asarray(one)[known] for one in scores)]
    order = np.lexsort(np.concatenate(columns, axis=1).T[::-1])
    return (columns[0][order, 0], *(one[order] for one in columns[1:]))
