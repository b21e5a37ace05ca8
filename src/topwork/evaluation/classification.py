"""How good a classifier is: the usual metrics, each with its interval, and what ignoring the input scores.

Truth is ``int64 [n]`` with class numbers from 0 to k - 1, and -1 where a label is missing: such rows are
left out everywhere. Means over classes run over those that the truth holds; a class without predictions has
precision and F1 of 0, as in scikit-learn with ``zero_division=0``. It knows no class by name and no data set.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from topwork.contracts import Array, Estimate
from topwork.errors import UsageError
from topwork.evaluation.intervals import interval_of_draws, mean_of_independent, resample, wilson

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ClassScores",
    "WeightedScores",
    "accuracy",
    "balanced_accuracy",
    "calibration_columns",
    "calibration_error",
    "calibration_estimate",
    "check_lengths",
    "check_scores",
    "classification_metrics",
    "confusion",
    "equal_mass_bins",
    "log_loss",
    "macro_f1",
    "majority_baseline",
    "per_class",
    "row_losses",
    "softmax",
    "squared_calibration_error",
]

_SMALLEST = float(np.finfo(np.float64).eps)
"""Probabilities are clipped here before their logarithm is taken, so that one row costs at most 36 nats."""

_MAX_BINS = 15
_ROWS_PER_BIN = 20

_NOTHING = {
    "macro_f1": Estimate(float("nan"), 0.0, 1.0),
    "log_loss": Estimate(float("nan"), 0.0, float("inf")),
    "calibration_error": Estimate(float("nan"), 0.0, 1.0),
}
"""What is known without a labelled row."""


@dataclass(frozen=True, slots=True)
class ClassScores:
    """How one class fares; all between 0 and 1, save the counts of its rows in truth and prediction."""

    precision: Estimate
    recall: Estimate
    f1: float
    n_true: int
    n_predicted: int


# --- from scores to predictions -----------------------------------------------------------------------


def softmax(scores: Array) -> Array:
    """Turn scores ``[n, k]`` into probabilities ``float64 [n, k]`` whose rows add up to 1."""
    shifted = np.asarray(scores, np.float64) - np.max(scores, axis=-1, keepdims=True)
    powers = np.exp(shifted)
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def confusion(truth: Array, predicted: Array, k: int) -> Array:
    """Count truth (rows) against prediction (columns), ``int64 [k, k]``.

    Raises
    ------
    UsageError
        The arrays differ in length, or hold a class that is not below ``k``.
    """
    check_lengths(truth, predicted)
    known = truth >= 0
    t, p = truth[known], predicted[known]
    if len(t) and (max(t.max(), p.max()) >= k or p.min() < 0):
        raise UsageError(
            f"Got class numbers up to {max(t.max(), p.max())} and down to {p.min()}, for {k} classes.",
            next_step=f"Encode truth and predictions as 0 to {k - 1}, a missing truth as -1.",
        )
    return np.bincount(t * k + p, minlength=k * k).reshape(k, k)


# --- single numbers -----------------------------------------------------------------------------------


def accuracy(truth: Array, predicted: Array) -> float:
    """Return the share of rows that are right, 0 to 1; NaN without rows."""
    known = truth >= 0
    return float(np.mean(truth[known] == predicted[known])) if known.any() else float("nan")


def balanced_accuracy(truth: Array, predicted: Array) -> float:
    """Return the mean over classes of the share of their rows that are right, 0 to 1; NaN without rows."""
    counts = confusion(truth, predicted, _n_classes(truth, predicted))
    return _balanced(counts).value


def macro_f1(truth: Array, predicted: Array) -> float:
    """Return the mean over the truth's classes of F1, 0 to 1; NaN without rows."""
    counts = confusion(truth, predicted, _n_classes(truth, predicted))
    return float(macro_f1_of_sums(np.diagonal(counts), counts.sum(1), counts.sum(0)))


def log_loss(truth: Array, probabilities: Array) -> float:
    """Return the mean negative log probability of the truth in nats, 0 to 36; NaN without rows.

    Parameters
    ----------
    truth
        ``int64 [n]``.
    probabilities
        ``[n, k]``, rows that add up to 1; clipped at 2.2e-16.
    """
    known = truth >= 0
    return float(np.mean(row_losses(truth[known], probabilities[known]))) if known.any() else float("nan")


def calibration_error(truth: Array, probabilities: Array) -> float:
    """Return how far the top probability is from the share that is right, root mean square, 0 to 1.

    Over bins of equal mass, debiased (Kumar, Liang & Ma 2019), because the plain plug-in reports an error
    for a perfectly calibrated model as well: the more, the fewer the rows.
    """
    known = truth >= 0
    if not known.any():
        return float("nan")
    columns = calibration_columns(truth[known], probabilities[known])
    return float(_rooted(squared_calibration_error(columns.sum(0, keepdims=True)))[0])


# --- with intervals -----------------------------------------------------------------------------------


def classification_metrics(truth: Array, scores: Array, *, seed: int) -> Mapping[str, Estimate]:
    """Compare truth with scores; every metric with its 95 % interval.

    Accuracy has Wilson's interval, balanced accuracy is made of one such interval per class, the others
    come from a bootstrap: stratified by class, save for the calibration error.

    Parameters
    ----------
    truth
        ``int64 [n]``, -1 where missing.
    scores
        ``float [n, k]``, logits; the highest is the prediction, the first among equals.
    seed
        Of the bootstrap.

    Returns
    -------
    Mapping
        ``accuracy``, ``balanced_accuracy``, ``macro_f1``, ``calibration_error`` (0 to 1) and
        ``log_loss`` (nats).

    Raises
    ------
    UsageError
        The shapes do not fit together, a class number is not below k, or a score is not finite.
    """
    check_scores(truth, scores)
    # Sorted by class, because the bootstrap is faster on neighbours; nothing else sees the order.
    rows = np.argsort(truth, kind="stable")[np.count_nonzero(truth < 0) :]
    truth, scores = truth[rows], scores[rows]
    predicted, probabilities = np.argmax(scores, axis=1), softmax(scores)
    counts = confusion(truth, predicted, scores.shape[1])
    balanced = _balanced(counts)
    return {
        "accuracy": wilson(int(np.trace(counts)), len(truth)),
        "balanced_accuracy": balanced,
        **_bootstrapped(truth, predicted, probabilities, balanced, seed),
    }


def majority_baseline(truth_train: Array, truth_test: Array, k: int, seed: int) -> Mapping[str, Estimate]:
    """Score a model that ignores its input: it always answers the most frequent class of the training rows.

    Its probabilities are the training shares with one row added to each class, so that a class that
    training never saw costs much, but not everything.

    Raises
    ------
    UsageError
        There is no labelled training row, or a class number is not below ``k``.
    """
    seen = truth_train[truth_train >= 0]
    if not len(seen):
        raise UsageError(
            "Got no labelled training row; the majority class of nothing is not defined.",
            next_step="Pass the encoded labels of the rows that the model was fitted on.",
        )
    shares = np.diagonal(confusion(seen, seen, k)) + 1.0
    scores = np.broadcast_to(np.log(shares / shares.sum()), (len(truth_test), k))
    return classification_metrics(truth_test, scores, seed=seed)


def per_class(truth: Array, predicted: Array, k: int) -> tuple[ClassScores, ...]:
    """Return precision and recall of each of the ``k`` classes, with Wilson's intervals.

    A class that was never predicted has the precision NaN (0 to 1): nothing is known about it.
    """
    counts = confusion(truth, predicted, k)
    right, n_true, n_predicted = (v.tolist() for v in (np.diagonal(counts), counts.sum(1), counts.sum(0)))
    return tuple(
        ClassScores(wilson(r, p), wilson(r, t), 2 * r / (t + p) if t + p else float("nan"), t, p)
        for r, t, p in zip(right, n_true, n_predicted, strict=True)
    )


# --- how it is done -----------------------------------------------------------------------------------


def _balanced(counts: Array) -> Estimate:
    pairs = zip(np.diagonal(counts).tolist(), counts.sum(1).tolist(), strict=True)
    return mean_of_independent(wilson(right, n) for right, n in pairs)


def macro_f1_of_sums(right: Array, n_true: Array, n_predicted: Array) -> Array:
    """Return the mean F1 over the classes with true rows, from ``[..., k]`` to ``[...]``; NaN without any."""
    present = n_true > 0
    f1 = np.where(present, 2 * right / np.maximum(n_true + n_predicted, _SMALLEST), 0.0)
    n_present = present.sum(-1)
    return np.asarray(np.where(n_present > 0, f1.sum(-1) / np.maximum(n_present, 1), np.nan))


def row_losses(truth: Array, probabilities: Array) -> Array:
    """Return the negative log probability of each row's truth, ``float64 [n]`` in nats, 0 to 36; no -1."""
    own = np.asarray(probabilities, np.float64)[np.arange(len(truth)), truth]
    return np.asarray(-np.log(np.clip(own, _SMALLEST, 1.0)))


def equal_mass_bins(top: Array) -> Array:
    """Return which bin of equal mass each of the values ``[n]`` falls into, ``int64 [n]`` ascending.

    About 20 rows a bin and 15 bins at most. Equal values share a bin, since the order of the rows must not
    matter, so that a number can be missing.
    """
    n_bins = int(np.clip(len(top) // _ROWS_PER_BIN, 1, _MAX_BINS))
    edges = np.unique(np.quantile(top, np.linspace(0, 1, n_bins + 1)[1:-1]))
    return np.searchsorted(edges, top, side="right")


def calibration_columns(truth: Array, probabilities: Array) -> Array:
    """Return ``[n, 3 * bins]``: membership of the bins, the same if right, the same times the probability."""
    top = probabilities.max(1)
    bins = equal_mass_bins(top)
    member = np.eye(int(bins.max()) + 1)[bins]
    right = probabilities.argmax(1) == truth
    return np.concatenate([member, member * right[:, None], member * top[:, None]], axis=1)


def squared_calibration_error(sums: Array) -> Array:
    """Return the debiased squared error ``[b]`` of the columns' weighted sums ``[b, 3 * bins]``."""
    n, right, confidence = np.split(np.asarray(sums, np.float64), 3, axis=1)
    rate, told = right / np.maximum(n, 1), confidence / np.maximum(n, 1)
    noise = rate * (1 - rate) / np.maximum(n - 1, 1)
    return np.asarray((n * ((rate - told) ** 2 - noise)).sum(1) / n.sum(1))


def _rooted(squares: Array) -> Array:
    return np.sqrt(np.maximum(squares, 0.0))


def _bootstrapped(
    truth: Array, predicted: Array, probabilities: Array, balanced: Estimate, seed: int
) -> dict[str, Estimate]:
    """Estimate the metrics that are no proportions, from one set of resamples."""
    if not len(truth):
        return _NOTHING
    statistic = WeightedScores.of(truth, predicted, row_losses(truth, probabilities))
    f1s, losses = resample(truth, statistic, seed=seed).T
    return {
        "macro_f1": _widened(interval_of_draws(macro_f1(truth, predicted), f1s), balanced),
        "log_loss": _of_several(interval_of_draws(log_loss(truth, probabilities), losses), "log_loss", truth),
        "calibration_error": calibration_estimate(truth, probabilities, seed),
    }


def calibration_estimate(truth: Array, probabilities: Array, seed: int) -> Estimate:
    """Estimate the calibration error of labelled rows; its draws run over all rows at once.

    To draw within the classes would fix how many of each class there are, and with them much of what
    varies between the probability of a class and its share.
    """
    columns = calibration_columns(truth, probabilities).astype(np.float32)
    square = float(squared_calibration_error(columns.sum(0, keepdims=True, dtype=np.float64))[0])
    everyone = np.zeros(len(truth), np.int64)
    squares = resample(everyone, lambda w: squared_calibration_error(w @ columns), seed=seed, n_resamples=400)
    # A resampled bin is noisy twice, of which one noise was taken off: centre the draws on the estimate.
    errors = _rooted(squares - squares.mean() + square)
    return _of_several(interval_of_draws(max(0.0, square) ** 0.5, errors), "calibration_error", truth)


def _of_several(drawn: Estimate, metric: str, truth: Array) -> Estimate:
    """Return an interval of resamples; of a single row, which cannot vary, everything that is possible."""
    return drawn if len(truth) > 1 else replace(_NOTHING[metric], value=drawn.value)


def _widened(estimate: Estimate, balanced: Estimate) -> Estimate:
    """Give macro F1 at least the width of balanced accuracy.

    Resamples cannot show a confusion that the rows happen not to hold, so near a perfect score the
    bootstrap is far too narrow (of width 0 at 1); the Wilson intervals of the recalls are not.
    """
    low = min(estimate.low, estimate.value - (balanced.value - balanced.low))
    high = max(estimate.high, estimate.value + (balanced.high - balanced.value))
    return Estimate(estimate.value, max(0.0, low), min(1.0, high))


@dataclass(frozen=True, slots=True)
class WeightedScores:
    """Macro F1 and log loss of weighted rows.

    Both follow from weighted sums of ``columns float32 [n, 3 k + 1]`` (right, true and predicted per
    class, and the loss), so that a chunk of resamples is one matrix product.
    """

    columns: Array
    k: int

    @classmethod
    def of(cls, truth: Array, predicted: Array, losses: Array) -> WeightedScores:
        """Lay out the columns of rows that all have a label; ``losses float [n]`` in nats."""
        k = int(max(truth.max(), predicted.max())) + 1
        true, said = (np.eye(k, dtype=np.float32)[v] for v in (truth, predicted))
        columns = np.concatenate([true * said, true, said, losses[:, None]], axis=1)
        return cls(columns.astype(np.float32), k)

    def __call__(self, weights: Array) -> Array:
        """Return ``[b, 2]`` for weights ``float32 [b, n]``."""
        sums = (weights @ self.columns).astype(np.float64)
        right, n_true, n_said, loss = np.split(sums, [self.k, 2 * self.k, 3 * self.k], axis=1)
        return np.stack([macro_f1_of_sums(right, n_true, n_said), loss[:, 0] / weights.sum(1)], axis=1)


def _n_classes(truth: Array, predicted: Array) -> int:
    return int(max(truth.max(initial=0), predicted.max(initial=0))) + 1


def check_lengths(truth: Array, other: Array) -> None:
    """Refuse another number of rows than of labels."""
    if len(truth) != len(other):
        raise UsageError(
            f"Got {len(truth)} true labels and {len(other)} predictions; expected one for each.",
            next_step="Score exactly the rows that have been labelled.",
        )


def check_scores(truth: Array, scores: Array) -> None:
    """Refuse scores that are not finite, or not one per label and class."""
    check_lengths(truth, scores)
    if scores.ndim != 2 or scores.shape[1] < 1:
        raise UsageError(
            f"Got scores of shape {scores.shape}; expected [rows, classes].",
            next_step="Pass one score per row and class.",
        )
    bad = int((~np.isfinite(scores)).any(axis=1).sum())
    if bad:
        raise UsageError(
            f"Got scores that are not finite in {bad} of {len(scores)} rows; every score must be a number.",
            next_step="Look for inputs that the network cannot handle, or for a fit that diverged.",
        )
