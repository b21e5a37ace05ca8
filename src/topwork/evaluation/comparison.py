"""Two models on the same rows: how far apart they are, and which of several is simple enough.

Everything is paired row by row, because two models err on much the same rows: the difference is then far surer
than either number. It knows no model, only truth and scores, and does not say what a difference is worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING

import numpy as np

from topwork.contracts import Array, Estimate
from topwork.errors import UsageError
from topwork.evaluation.classification import (
    WeightedScores,
    calibration_columns,
    calibration_estimate,
    check_scores,
    macro_f1,
    row_losses,
    softmax,
    squared_calibration_error,
)
from topwork.evaluation.intervals import (
    correlated_difference,
    independent_difference,
    interval_of_draws,
    mean_of_independent,
    paired_difference,
    resample,
    wilson,
)
from topwork.evaluation.quantiles import t_quantile

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ClassDifference",
    "compare",
    "compare_classes",
    "mean_by_t",
    "one_standard_error_choice",
    "paired_losses",
    "standard_error",
]

_NOTHING = {
    "accuracy": Estimate(float("nan"), -1.0, 1.0),
    "balanced_accuracy": Estimate(float("nan"), -1.0, 1.0),
    "macro_f1": Estimate(float("nan"), -1.0, 1.0),
    "log_loss": Estimate(float("nan"), float("-inf"), float("inf")),
    "calibration_error": Estimate(float("nan"), -1.0, 1.0),
}
"""What is known without a labelled row."""


def compare(truth: Array, scores_a: Array, scores_b: Array, *, seed: int) -> Mapping[str, Estimate]:
    """Estimate how much more each metric is for model a than for model b, on the same rows.

    Accuracy has Tango's score interval, balanced accuracy is made of one such interval per class, log loss
    has Student's; macro F1 and the calibration error have a bootstrap that draws the same rows for both, and no
    less than the parts allow.

    Parameters
    ----------
    truth
        ``int64 [n]``, -1 where missing.
    scores_a, scores_b
        ``float [n, k]``, logits; the highest is the prediction, the first among equals.
    seed
        Of the bootstrap.

    Returns
    -------
    Mapping
        The keys of `classification_metrics`, each a minus b. More is better for accuracy, balanced accuracy
        and macro F1, worse for log loss (nats) and the calibration error.

    Raises
    ------
    UsageError
        The shapes do not fit together, a class number is not below k, or a score is not finite.
    """
    check_scores(truth, scores_a)
    check_scores(truth, scores_b)
    # Sorted by class, because the bootstrap is faster on neighbours.
    rows = np.argsort(truth, kind="stable")[np.count_nonzero(truth < 0) :]
    if not len(rows):
        return _NOTHING
    truth, a, b = truth[rows], scores_a[rows], scores_b[rows]
    _check_classes(truth, a, b)
    balanced = _balanced(truth, a.argmax(1), b.argmax(1))
    return {
        "accuracy": _accuracy(truth, a.argmax(1), b.argmax(1)),
        "balanced_accuracy": balanced,
        "macro_f1": _macro_f1(truth, a.argmax(1), b.argmax(1), balanced, seed),
        "log_loss": mean_by_t(paired_losses(truth, softmax(a), softmax(b))),
        "calibration_error": _calibration(truth, softmax(a), softmax(b), seed),
    }


@dataclass(frozen=True, slots=True)
class ClassDifference:
    """How much more precision and recall of one class are for model a than for model b; ``n`` rows are of it."""

    precision: Estimate
    recall: Estimate
    n: int


def compare_classes(truth: Array, said_a: Array, said_b: Array, k: int) -> tuple[ClassDifference, ...]:
    """Estimate the differences of precision and recall of each class, on the same rows.

    Recall is counted on the same rows for both and has Tango's score interval. Precision is not, since each model
    calls other rows by the class: its interval is made of the two Wilson intervals and their correlation (MOVER:
    Zou & Donner 2008, Statistics in Medicine 27, 1693-1702).

    Parameters
    ----------
    truth
        ``int64 [n]``, -1 where missing.
    said_a, said_b
        ``int64 [n]``, the predicted classes.
    k
        Number of classes.

    Returns
    -------
    tuple
        One for each class, each a minus b. A precision is NaN where a model never says the class.
    """
    known = truth >= 0
    truth, a, b = truth[known], said_a[known], said_b[known]
    found = []
    for c in range(k):
        own = truth == c
        recall = _accuracy(truth[own], a[own], b[own])
        found.append(ClassDifference(_precision(own, a == c, b == c), recall, int(own.sum())))
    return tuple(found)


def _precision(own: Array, called_a: Array, called_b: Array) -> Estimate:
    """Estimate the difference of two precisions of one class out of ``bool [n]``: is it, and called it by a and b."""
    a, b = (wilson(int((own & called).sum()), int(called.sum())) for called in (called_a, called_b))
    if not (a.is_known and b.is_known):
        return Estimate(float("nan"), -1.0, 1.0)
    # What each row adds to a ratio's error; without any the two are taken for independent, which is wider.
    errors = [called * (own - one.value) for called, one in ((called_a, a), (called_b, b))]
    scale = sqrt(float((errors[0] ** 2).sum() * (errors[1] ** 2).sum()))
    correlation = max(0.0, float((errors[0] * errors[1]).sum()) / scale) if scale else 0.0
    found = correlated_difference(a, b, correlation)
    # Models that agree on all rows there are may differ on others: no disagreement among n is no proof of none.
    unseen = wilson(0, max(int(called_a.sum()), int(called_b.sum()))).high
    return Estimate(found.value, min(found.low, found.value - unseen), max(found.high, found.value + unseen))


def paired_losses(truth: Array, probabilities_a: Array, probabilities_b: Array) -> Array:
    """Return the log loss of a minus that of b of each labelled row, ``float64 [n labelled]`` in nats."""
    known = truth >= 0
    return np.asarray(
        row_losses(truth[known], probabilities_a[known]) - row_losses(truth[known], probabilities_b[known])
    )


def standard_error(losses: Array) -> float:
    """Return the standard error of the mean of ``losses [n]``; infinite where fewer than two tell nothing."""
    return float(np.std(losses, ddof=1)) / sqrt(len(losses)) if len(losses) > 1 else float("inf")


def mean_by_t(values: Array, value: float | None = None) -> Estimate:
    """Estimate a mean by Student's interval, around ``value`` where that is what the mean linearises.

    Differences are about symmetric, where it covers better than a bootstrap's percentiles: with 20 rows 94 %
    against 91 %. Fewer than two values tell nothing.
    """
    value = float(values.mean()) if value is None else value
    if len(values) < 2:
        return Estimate(value, -inf, inf)
    half = t_quantile(0.975, len(values) - 1) * standard_error(values)
    return Estimate(value, value - half, value + half)


def one_standard_error_choice(losses: Array) -> int:
    """Choose the simplest candidate that is not clearly worse than the best.

    The rule of one standard error (Breiman et al. 1984, Classification and Regression Trees, 3.4.3), with the
    standard error of the paired difference to the best candidate, which is far smaller than that of a loss.

    Parameters
    ----------
    losses
        ``float [candidates, n]``, of the same rows, candidates from simple to complex.

    Returns
    -------
    int
        The lowest candidate whose mean loss exceeds the lowest mean by one such standard error at most.

    Raises
    ------
    UsageError
        There is no candidate or no row, or a loss is not a number.
    """
    if losses.ndim != 2 or not losses.size or np.isnan(losses).any():
        raise UsageError(
            f"Got losses of shape {losses.shape} with {int(np.isnan(losses).sum())} that are no numbers; "
            "expected [candidates, rows], all known.",
            next_step="Pass the losses of the rows that every candidate was scored on.",
        )
    best = int(losses.mean(axis=1).argmin())
    worse_by = losses - losses[best]
    return next(i for i, more in enumerate(worse_by) if more.mean() <= standard_error(more))


def _accuracy(truth: Array, said_a: Array, said_b: Array) -> Estimate:
    right_a, right_b = said_a == truth, said_b == truth
    return paired_difference(int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum()), len(truth))


def _balanced(truth: Array, said_a: Array, said_b: Array) -> Estimate:
    classes = [truth == c for c in np.unique(truth)]
    return mean_of_independent(_accuracy(truth[own], said_a[own], said_b[own]) for own in classes)


def _macro_f1(truth: Array, said_a: Array, said_b: Array, balanced: Estimate, seed: int) -> Estimate:
    """Estimate the difference of macro F1, at least as wide as that of balanced accuracy, and for its reason.

    Resamples cannot show a disagreement that the rows happen not to hold.
    """
    nothing = np.zeros(len(truth))
    scored_a, scored_b = (WeightedScores.of(truth, said, nothing) for said in (said_a, said_b))
    draws = resample(truth, lambda w: scored_a(w)[:, 0] - scored_b(w)[:, 0], seed=seed)
    drawn = interval_of_draws(macro_f1(truth, said_a) - macro_f1(truth, said_b), draws)
    low = min(drawn.low, drawn.value - (balanced.value - balanced.low))
    high = max(drawn.high, drawn.value + (balanced.high - balanced.value))
    return Estimate(drawn.value, max(-1.0, low), min(1.0, high))


def _calibration(truth: Array, a: Array, b: Array, seed: int) -> Estimate:
    """Estimate the difference of the calibration errors, by the wider of two intervals on either side.

    Draws of the same rows for both, centred as those of a single error are, cover 85 % where one of the two is
    well calibrated, its error stuck to the bound of 0; the two single intervals, as if independent, cover it.
    """
    everyone = np.zeros(len(truth), np.int64)
    columns = [calibration_columns(truth, p).astype(np.float32) for p in (a, b)]
    squares = resample(
        everyone,
        lambda w: np.stack([squared_calibration_error(w @ c) for c in columns], axis=1),
        seed=seed,
        n_resamples=400,
    )
    found = np.concatenate(
        [squared_calibration_error(c.sum(0, keepdims=True, dtype=np.float64)) for c in columns]
    )
    draws, (a_error, b_error) = _rooted(squares - squares.mean(axis=0) + found), _rooted(found)
    paired = interval_of_draws(float(a_error - b_error), draws[:, 0] - draws[:, 1])
    apart = independent_difference(*(calibration_estimate(truth, p, seed) for p in (a, b)))
    return Estimate(paired.value, min(paired.low, apart.low), max(paired.high, apart.high))


def _rooted(squares: Array) -> Array:
    return np.sqrt(np.maximum(squares, 0.0))


def _check_classes(truth: Array, a: Array, b: Array) -> None:
    if a.shape != b.shape or truth.max() >= a.shape[1]:
        raise UsageError(
            f"Got scores for {a.shape[1]} and {b.shape[1]} classes, and class numbers up to {truth.max()}; "
            "expected the same classes everywhere.",
            next_step="Give both models' scores the columns of one list of labels.",
        )
