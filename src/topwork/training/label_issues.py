"""Rows that a person should look at again: labels that are probably wrong, and inputs that are like no other.

Three signs are looked for, each on its own: a model that never saw a row disagrees with its label (confident learning);
rows that show the same have different labels; a row has no neighbours in feature space. It proposes and changes
nothing. It knows numbers of classes and rows, and neither label names nor files.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock

import numpy as np

from topwork.contracts import Array
from topwork.errors import MissingExtraError, UsageError

__all__ = [
    "LabelIssue",
    "Outlier",
    "SetIssue",
    "find_conflicts",
    "find_label_issues",
    "find_outliers",
    "find_set_issues",
]

_ONE_AT_A_TIME = Lock()
"""cleanlab hands arrays from function to function in a variable of its module."""

_N_TWINS = 8
_N_NEIGHBOURS = 10
_MAX_DEVIATIONS = 3.0
_MAX_EXACT_ROWS = 6000
_N_PROJECTED = 512
_BLOCK_ROWS = 1024
_SEED = 0


@dataclass(frozen=True, slots=True)
class LabelIssue:
    """A label that is probably wrong.

    Attributes
    ----------
    row
        Its row.
    given, suggested
        The class that stands there, and the one that should perhaps stand there.
    score
        0 to 1, the lower the worse: the probability of the given class, or the share of the rows that show the same
        that have it.
    twins
        Rows that show the same and have another label, where that is the sign; at most 8.
    """

    row: int
    given: int
    suggested: int
    score: float
    twins: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SetIssue:
    """A row with labels that are probably too many or missing.

    Attributes
    ----------
    row
        Its row.
    labels
        Those of its labels whose yes or no is doubted, ascending.
    score
        0 to 1, the lower the worse: the least probability of what is said of one of them.
    """

    row: int
    labels: tuple[int, ...]
    score: float


@dataclass(frozen=True, slots=True)
class Outlier:
    """A row that is unlike all others.

    Attributes
    ----------
    row
        Its row.
    deviations
        How much further away its nearest neighbours are than is usual, in robust standard deviations.
    """

    row: int
    deviations: float


# --- labels that a model disagrees with ---------------------------------------------------------------


def find_label_issues(truth: Array, probabilities: Array) -> tuple[LabelIssue, ...]:
    """Find labels that are probably wrong by confident learning.

    Northcutt, Jiang and Chuang, *Confident Learning: Estimating Uncertainty in Dataset Labels*, 2021, as the library
    cleanlab has it. How many labels of each class are wrong is estimated from rows that a model is sure belong
    elsewhere, as sure as it is on average of that class; that many with the least probability are taken. The list
    is as good as the model: where that is often wrong, so is the lower part of the list.

    Parameters
    ----------
    truth
        ``int64 [n]``, -1 where there is no label.
    probabilities
        ``float [n, k]``, each row from a model that did not see it; NaN where there is none.

    Returns
    -------
    The worst first. A class with a single label is not judged.

    Raises
    ------
    MissingExtraError
        cleanlab is not installed.
    UsageError
        The arrays do not fit each other.
    """
    _require_fit(truth, probabilities)
    rows = np.flatnonzero((truth >= 0) & ~np.isnan(probabilities).any(axis=1))
    given, likely = truth[rows], probabilities[rows].astype(np.float64)
    if len(np.unique(given)) < 2:
        return ()
    found = _confident_learning()(
        given, likely, filter_by="prune_by_class", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return tuple(_label_issue(int(rows[i]), given[i], likely[i]) for i in found)


def find_set_issues(truth: Array, probabilities: Array) -> tuple[SetIssue, ...]:
    """Find rows with a label too many or missing, each label being a question of its own.

    Each is put to `find_label_issues` as one of two classes, so a label that stands at a single row is not judged.

    Parameters
    ----------
    truth
        ``int8 [n, k]`` of 0 and 1, a missing row -1 throughout.
    probabilities
        ``float [n, k]`` of yes, each row from a model that did not see it; NaN where there is none.

    Returns
    -------
    The worst first.

    Raises
    ------
    MissingExtraError
        cleanlab is not installed.
    UsageError
        The arrays do not fit each other.
    """
    doubts: dict[int, list[tuple[int, float]]] = {}
    for j, yes in enumerate(probabilities.T):
        for one in find_label_issues(truth[:, j].astype(np.int64), np.stack([1 - yes, yes], axis=1)):
            doubts.setdefault(one.row, []).append((j, one.score))
    found = [SetIssue(row, tuple(j for j, _ in of), min(s for _, s in of)) for row, of in doubts.items()]
    return tuple(sorted(found, key=lambda one: (one.score, one.row)))


def _label_issue(row: int, given: int, likely: Array) -> LabelIssue:
    others = np.where(np.arange(len(likely)) == given, -1, likely)
    return LabelIssue(row, int(given), int(others.argmax()), float(likely[given]))


def _require_fit(truth: Array, probabilities: Array) -> None:
    n, k = probabilities.shape if probabilities.ndim == 2 else (-1, -1)
    highest = int(truth.max(initial=-1))
    if truth.shape != (n,) or highest >= k:
        raise UsageError(
            f"The labels are {list(truth.shape)} with classes up to {highest}, the probabilities "
            f"{list(probabilities.shape)}; expected [n] with classes below k, and [n, k].",
            next_step="Give both for the same rows and the same target.",
        )


def _confident_learning() -> Callable[..., Array]:
    try:
        from cleanlab.filter import find_label_issues as confident_learning
    except ImportError as error:
        raise MissingExtraError(
            "Looking for wrong labels needs cleanlab, which is not installed.",
            next_step="Install topwork with its extra labels.",
        ) from error

    def quietly(*arrays: Array, **how: object) -> Array:
        with _ONE_AT_A_TIME, warnings.catch_warnings():
            # It warns of classes with a single label, and so does the docstring here.
            warnings.filterwarnings("ignore", message="May not flag all label issues")
            return np.asarray(confident_learning(*arrays, **how), dtype=np.int64)

    return quietly


# --- rows that show the same and are labelled differently ---------------------------------------------


def find_conflicts(truth: Array, pairs: Array) -> tuple[LabelIssue, ...]:
    """Find rows that show the same as others and have another label.

    Parameters
    ----------
    truth
        ``int64 [n]``, -1 where there is no label.
    pairs
        ``int64 [p, 2]``: rows that show the same. What both of two rows are paired with, they show as well.

    Returns
    -------
    For each group of rows that show the same, those whose label is not the one that most of the group have: both of two
    that differ, one of three where two agree. The ones that most others contradict come first.
    """
    group_of = _groups(len(truth), pairs.reshape(-1, 2))
    rows = np.flatnonzero((truth >= 0) & (np.bincount(group_of, minlength=len(truth))[group_of] > 1))
    rows = rows[np.argsort(group_of[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(group_of[rows])) + 1
    found = [issue for group in np.split(rows, starts) for issue in _contradicted(group, truth[group])]
    return tuple(sorted(found, key=lambda issue: (issue.score, issue.row)))


def _contradicted(group: Array, labels: Array) -> Iterator[LabelIssue]:
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        return
    for row, label in zip(group.tolist(), labels.tolist(), strict=True):
        same = classes == label
        most = counts[~same].max()
        if counts[same][0] <= most:
            suggested = int(classes[~same][counts[~same].argmax()])
            twins = tuple(group[labels != label][:_N_TWINS].tolist())
            yield LabelIssue(row, label, suggested, float(counts[same][0] / len(group)), twins)


def _groups(n: int, pairs: Array) -> Array:
    """Return ``int64 [n]``: the lowest row that each row is linked to, over any number of pairs."""
    lowest = np.arange(n)
    while True:
        both = np.minimum(lowest[pairs[:, 0]], lowest[pairs[:, 1]])
        spread = lowest.copy()
        for side in (0, 1):
            np.minimum.at(spread, pairs[:, side], both)
        spread = spread[spread]
        if (spread == lowest).all():
            return lowest
        lowest = spread


# --- rows that are like no other ----------------------------------------------------------------------


def find_outliers(features: Array) -> tuple[Outlier, ...]:
    """Find rows that lie far from their nearest neighbours.

    The distance is the mean of that to the 10 nearest of all other rows, between feature vectors of length 1 whose
    values have been replaced by their signed roots, so that no single large value decides (Perronnin, Sánchez and
    Mensink, *Improving the Fisher Kernel for Large-Scale Image Classification*, 2010). Far is what exceeds the median
    by 3 standard deviations, which the median absolute deviation stands for. So a group of more than 10 rows that
    are alike is no outlier, however strange. From 6,000 rows on, distances are those of a random projection to 512
    dimensions, which changes each by some 3 %.

    Parameters
    ----------
    features
        ``float32 [n, d]``, of readable rows alone.

    Returns
    -------
    The strangest first; none where there are fewer than 20 rows.
    """
    if len(features) < 2 * _N_NEIGHBOURS:
        return ()
    distance = _isolation(_normalised(features))
    beyond = distance - np.median(distance)
    usual = 1.4826 * np.median(np.abs(beyond))
    # Where most rows are copies of each other, there is no usual distance to compare with.
    deviations = beyond / usual if usual > 1e-6 else np.zeros(len(beyond))
    order = np.argsort(-deviations, kind="stable")
    return tuple(Outlier(int(i), float(deviations[i])) for i in order if deviations[i] > _MAX_DEVIATIONS)


def _normalised(features: Array) -> Array:
    """Return signed roots of length 1, ``float32 [n, d]`` or projected to fewer columns where rows are many."""
    n, d = features.shape
    is_projected = n > _MAX_EXACT_ROWS and d > _N_PROJECTED
    width = _N_PROJECTED if is_projected else d
    draw = np.random.default_rng(_SEED)
    spread = draw.normal(scale=width**-0.5, size=(d, width)).astype(np.float32) if is_projected else None
    found = np.empty((n, width), dtype=np.float32)
    for start in range(0, n, _BLOCK_ROWS):
        block = features[start : start + _BLOCK_ROWS].astype(np.float32)
        block = np.sign(block) * np.sqrt(np.abs(block))
        block /= np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-12)
        found[start : start + _BLOCK_ROWS] = block if spread is None else block @ spread
    return found


def _isolation(points: Array) -> Array:
    """Return the mean distance ``float64 [n]`` of each row of ``points`` to the nearest others."""
    squares = np.einsum("nd,nd->n", points, points)
    found = np.empty(len(points))
    for start in range(0, len(points), _BLOCK_ROWS):
        block = slice(start, min(start + _BLOCK_ROWS, len(points)))
        # The squared length of the row itself is added last: the order of its neighbours does not depend on it.
        apart = points[block] @ points.T
        apart *= -2
        apart += squares
        here = np.arange(block.stop - block.start)
        apart[here, here + start] = np.inf
        nearest = np.partition(apart, _N_NEIGHBOURS - 1, axis=1)[:, :_N_NEIGHBOURS]
        found[block] = np.sqrt(np.maximum(nearest + squares[block, None], 0)).mean(axis=1)
    return found
