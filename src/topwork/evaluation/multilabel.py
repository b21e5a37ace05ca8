"""How good a model is that gives any number of labels to an input: the usual metrics, each with its interval.

Truth is ``int8 [n, k]`` of 0 and 1, and -1 throughout a row that is not labelled: such rows are left out everywhere.
Scores are log odds ``float [n, k]``; a label is said where its score reaches its cut. Means over labels run over those
that the truth holds; a label without predictions has an F1 of 0, as in scikit-learn with ``zero_division=0``.

Intervals come from a bootstrap that draws whole rows, since the labels of one row are not independent. It cannot show a
mistake that the rows happen not to hold, so it is never narrower than what Wilson's intervals of the recalls allow. It
knows no label by name and no data set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import nan

import numpy as np

from topwork.contracts import Array, Estimate, known_rows
from topwork.errors import UsageError
from topwork.evaluation.classification import check_scores, macro_f1_of_sums
from topwork.evaluation.comparison import mean_by_t
from topwork.evaluation.intervals import (
    interval_of_draws,
    mean_of_independent,
    paired_difference,
    resample,
    wilson,
)

__all__ = ["LabelScores", "best_cuts", "compare_multilabel", "multilabel_metrics", "per_label"]

_N_RESAMPLES = 400
_NOTHING = {
    **dict.fromkeys(("macro_f1", "micro_f1", "mean_average_precision"), Estimate(nan, 0.0, 1.0)),
    "hamming_loss": Estimate(nan, 0.0, 1.0),
    "exact_match": Estimate(nan, 0.0, 1.0),
}
"""What is known without a labelled row."""


@dataclass(frozen=True, slots=True)
class LabelScores:
    """How one label fares; all between 0 and 1, save the counts of its rows in truth and prediction."""

    precision: Estimate
    recall: Estimate
    f1: float
    average_precision: float
    n_true: int
    n_predicted: int


def multilabel_metrics(truth: Array, scores: Array, cuts: Array, *, seed: int) -> Mapping[str, Estimate]:
    """Compare truth with scores; every metric with its 95 % interval.

    Parameters
    ----------
    cuts
        ``float [k]``: the log odds from which on a label is said.
    seed
        Of the bootstrap.

    Returns
    -------
    Mapping
        ``macro_f1``, ``micro_f1``, ``mean_average_precision`` (over the labels; no cut enters it), ``hamming_loss``
        (the share of all pairs of row and label that are wrong) and ``exact_match`` (the share of rows whose labels are
        all right), each 0 to 1.

    Raises
    ------
    UsageError
        The shapes do not fit together, or a score is not finite.
    """
    truth, scores = _known(truth, scores)
    if not len(truth):
        return _NOTHING
    said = scores >= cuts
    floor = mean_of_independent(_recall(truth, said, j) for j in range(truth.shape[1]))
    ranked = _drawn(_Ranked.of(truth, scores), len(truth), seed)
    f1s = _drawn(_Counted.of(truth, said), len(truth), seed)
    wrong = truth.astype(bool) != said
    return {
        "macro_f1": _widened(*_column(f1s, 0), floor),
        "micro_f1": _widened(*_column(f1s, 1), floor),
        "mean_average_precision": _widened(*_column(ranked, 0), floor),
        "hamming_loss": _hamming(wrong),
        "exact_match": wilson(int((~wrong.any(axis=1)).sum()), len(wrong)),
    }


def compare_multilabel(
    truth: Array, scores_a: Array, scores_b: Array, cuts: Array, *, seed: int
) -> Mapping[str, Estimate]:
    """Estimate how much more each metric of `multilabel_metrics` is for a than for b, on the same rows.

    Exact match has Tango's score interval, the Hamming loss Student's, the others a bootstrap that draws the same rows
    for both, no narrower than Tango's intervals of the recalls allow.

    Raises
    ------
    UsageError
        The shapes do not fit together, or a score is not finite.
    """
    truth, a, b = _known(truth, scores_a, scores_b)
    if not len(truth):
        return {metric: Estimate(nan, -1.0, 1.0) for metric in _NOTHING}
    said_a, said_b = a >= cuts, b >= cuts
    floor = mean_of_independent(_recall_difference(truth, said_a, said_b, j) for j in range(truth.shape[1]))
    ranked = _drawn(_minus(_Ranked.of(truth, a), _Ranked.of(truth, b)), len(truth), seed)
    f1s = _drawn(_minus(_Counted.of(truth, said_a), _Counted.of(truth, said_b)), len(truth), seed)
    wrong_a, wrong_b = (truth.astype(bool) != said for said in (said_a, said_b))
    bad_a, bad_b = wrong_a.any(axis=1), wrong_b.any(axis=1)
    return {
        "macro_f1": _widened(*_column(f1s, 0), floor, least=-1.0),
        "micro_f1": _widened(*_column(f1s, 1), floor, least=-1.0),
        "mean_average_precision": _widened(*_column(ranked, 0), floor, least=-1.0),
        "hamming_loss": mean_by_t(wrong_a.mean(axis=1) - wrong_b.mean(axis=1)),
        "exact_match": paired_difference(
            int((~bad_a & bad_b).sum()), int((bad_a & ~bad_b).sum()), len(truth)
        ),
    }


def per_label(truth: Array, scores: Array, cuts: Array) -> tuple[LabelScores, ...]:
    """Return precision and recall of each label with Wilson's intervals, F1 and average precision."""
    truth, scores = _known(truth, scores)
    said = scores >= cuts
    found = []
    for j in range(len(cuts)):
        right, n_true, n_said = (int(v.sum()) for v in (truth[:, j] * said[:, j], truth[:, j], said[:, j]))
        f1 = 2 * right / (n_true + n_said) if n_true + n_said else nan
        average = float(_Ranked.of(truth[:, [j]], scores[:, [j]])(np.ones((1, len(truth))))[0, 0])
        found.append(LabelScores(wilson(right, n_said), wilson(right, n_true), f1, average, n_true, n_said))
    return tuple(found)


def best_cuts(truth: Array, scores: Array) -> Array:
    """Return for each label the log odds ``float64 [k]`` from which on to say it for the highest F1 on these rows.

    Cuts lie midway between two scores; of equally good ones the one nearest to even odds is taken, and 0 for a label
    that no row has, or that every row has. Rows without truth or scores do not count.
    """
    known = known_rows(truth) & ~np.isnan(scores[:, 0])
    return np.array([_best_cut(truth[known, j], scores[known, j]) for j in range(truth.shape[1])])


def _best_cut(truth: Array, scores: Array) -> float:
    if len(np.unique(truth)) < 2:
        return 0.0
    order = np.argsort(-scores, kind="stable")
    s, right = np.asarray(scores, np.float64)[order], np.cumsum(truth[order], dtype=np.int64)
    f1 = 2 * right / (np.arange(1, len(s) + 1) + right[-1])
    # Below the lowest score a cut would say the label always: a step as far down as its neighbour is up.
    cuts = np.append((s[:-1] + s[1:]) / 2, s[-1])
    is_step = np.append(s[:-1] > s[1:], True)
    best = np.flatnonzero(is_step & (f1 >= f1[is_step].max() - 1e-12))
    return float(cuts[best[np.abs(cuts[best]).argmin()]])


# --- how it is done -----------------------------------------------------------------------------------


_Statistic = Callable[[Array], Array]
"""Takes weights ``[b, n]`` and gives ``[b, m]``."""


@dataclass(frozen=True, slots=True)
class _Counted:
    """Macro and micro F1 of weighted rows, out of weighted sums of ``columns float32 [n, 3 k]``."""

    columns: Array

    @classmethod
    def of(cls, truth: Array, said: Array) -> _Counted:
        return cls(np.concatenate([truth * said, truth, said], axis=1).astype(np.float32))

    def __call__(self, weights: Array) -> Array:
        sums = np.split((weights @ self.columns).astype(np.float64), 3, axis=1)
        right, n_true, n_said = sums
        totals = (one.sum(axis=1) for one in sums)
        return np.stack([macro_f1_of_sums(right, n_true, n_said), _micro_f1(*totals)], axis=1)


def _micro_f1(right: Array, n_true: Array, n_said: Array) -> Array:
    """Return F1 over all pairs of row and label; 0 where there is none to find and none is said."""
    return np.asarray(2 * right / np.maximum(n_true + n_said, 1e-12))


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Mean over the labels of the average precision of weighted rows.

    Attributes
    ----------
    order
        ``int64 [k, n]``: rows by falling score.
    last
        ``int64 [k, n]``: where in that order the last of equal scores stands; equal scores are said at once.
    is_true
        ``bool [k, n]`` in that order.
    """

    order: Array
    last: Array
    is_true: Array

    @classmethod
    def of(cls, truth: Array, scores: Array) -> _Ranked:
        order = np.argsort(-scores, axis=0, kind="stable").T
        last = np.stack([_ends(column[rows]) for column, rows in zip(scores.T, order, strict=True)])
        is_true = np.take_along_axis(truth.T > 0, order, axis=1)
        return cls(order, last, is_true)

    def __call__(self, weights: Array) -> Array:
        every = np.stack([self._one(weights, j) for j in range(len(self.order))], axis=1)
        # A label that a resample does not hold tells nothing there, and neither does one that no row has.
        n_known = (~np.isnan(every)).sum(axis=1)
        return np.asarray((np.nansum(every, axis=1) / np.where(n_known, n_known, np.nan))[:, None])

    def _one(self, weights: Array, j: int) -> Array:
        w = np.asarray(weights[:, self.order[j]], np.float64)
        true = w * self.is_true[j]
        precision = np.cumsum(true, axis=1) / np.maximum(np.cumsum(w, axis=1), 1e-12)
        n_true = true.sum(axis=1)
        found = (true * precision[:, self.last[j]]).sum(axis=1)
        return np.asarray(np.where(n_true > 0, found / np.maximum(n_true, 1e-12), np.nan))


def _ends(falling: Array) -> Array:
    """Return for each of sorted values the position of the last that equals it."""
    ends = np.flatnonzero(np.append(np.diff(falling) != 0, True))
    return np.asarray(ends[np.searchsorted(ends, np.arange(len(falling)))])


def _minus(a: _Statistic, b: _Statistic) -> _Statistic:
    return lambda weights: a(weights) - b(weights)


def _drawn(statistic: _Statistic, n: int, seed: int) -> tuple[Array, Array]:
    """Return the statistic ``[m]`` of the rows, and ``[b, m]`` of resamples of them."""
    value = statistic(np.ones((1, n), np.float32))[0]
    return value, resample(np.zeros(n, np.int64), statistic, seed=seed, n_resamples=_N_RESAMPLES)


def _column(drawn: tuple[Array, Array], i: int) -> tuple[float, Array]:
    value, draws = drawn
    return float(value[i]), draws[:, i]


def _widened(value: float, draws: Array, floor: Estimate, *, least: float = 0.0) -> Estimate:
    """Return the interval of draws, at least as wide as ``floor`` is around its own value."""
    draws = draws[~np.isnan(draws)]
    if np.isnan(value) or not len(draws):
        return Estimate(value, least, 1.0)
    drawn = interval_of_draws(value, draws)
    below, above = (floor.value - floor.low, floor.high - floor.value) if floor.is_known else (0.0, 0.0)
    return Estimate(
        value, max(least, min(drawn.low, value - below)), min(1.0, max(drawn.high, value + above))
    )


def _recall(truth: Array, said: Array, j: int) -> Estimate:
    own = truth[:, j] > 0
    return wilson(int(said[own, j].sum()), int(own.sum()))


def _recall_difference(truth: Array, a: Array, b: Array, j: int) -> Estimate:
    own = truth[:, j] > 0
    only_a, only_b = (int((x & ~y).sum()) for x, y in ((a[own, j], b[own, j]), (b[own, j], a[own, j])))
    return paired_difference(only_a, only_b, int(own.sum()))


def _hamming(wrong: Array) -> Estimate:
    """Estimate the share of wrong pairs by Student's interval of the rows' shares.

    It is never above the share of rows with any mistake, whose upper bound holds where no mistake was seen.
    """
    found, bad = mean_by_t(wrong.mean(axis=1)), wilson(int(wrong.any(axis=1).sum()), len(wrong))
    high = bad.high if found.value == 0 else min(found.high, bad.high)
    return Estimate(found.value, max(0.0, found.low), max(found.value, high))


def _known(truth: Array, *scores: Array) -> tuple[Array, ...]:
    """Return the labelled rows, in an order that does not depend on theirs; truth as ``int64``."""
    for one in scores:
        check_scores(truth, one)
        if truth.ndim != 2 or one.shape != truth.shape:
            raise UsageError(
                f"Got truth of shape {truth.shape} and scores of shape {one.shape}; expected [rows, labels] of both.",
                next_step="Give one score and one truth for each row and label.",
            )
    known = known_rows(truth)
    found = tuple(np.asarray(one)[known] for one in (truth.astype(np.int64), *scores))
    order = np.lexsort(np.concatenate(found, axis=1).T[::-1])
    return tuple(one[order] for one in found)
