"""What each word says of a target: a linear model on `topwork.inputs.word_buckets`, and how much of it to mix in.

It knows no tokeniser and no network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from topwork.contracts import Array, Goal, Link, known_rows
from topwork.evaluation.links import losses_of
from topwork.training.links import solver_of
from topwork.training.sparse import fit_at

__all__ = ["SHARES", "STRENGTHS", "WordWeights", "fit_words", "mixed"]

STRENGTHS: Final = (1.0, 4.0, 16.0, 64.0)
"""Inverse strengths of the penalty, as scikit-learn's ``C``."""
SHARES: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Of the words' scores, beside the network's."""
_LEAST_TEXTS: Final = 2
_FEW_TEXTS: Final = 500
_Mixture: TypeAlias = tuple[int, float, Array]
"""Place of the words' scores, their share, and the mixed scores."""


@dataclass(frozen=True, slots=True, eq=False)
class WordWeights:
    """``scores = found @ weight + bias``: ``weight float32 [m, k]``, ``bias float64 [k]``."""

    weight: Array
    bias: Array

    def scores(self, found: Any) -> Array:
        """Return the scores ``float64 [n, k]`` of what `weigh` found in texts."""
        return np.asarray(found @ self.weight + self.bias, np.float64)

    def columns(self) -> tuple[Array, Array]:
        """Return columns ``[m, c]`` and what of each is in each score ``[k, c]``: of two opposite scores one column."""
        if self.weight.shape[1] == 2 and np.array_equal(self.weight[:, 0], -self.weight[:, 1]):
            return self.weight[:, 1:], np.array([[-1.0], [1.0]], np.float32)
        return self.weight, np.eye(self.weight.shape[1], dtype=np.float32)


def fit_words(found: Any, goal: Goal, strength: float) -> WordWeights:
    """Fit the rows that have a truth.

    What is found of a word counts for more the more it tells two sides apart, as in NB-SVM (Wang & Manning, *Baselines
    and Bigrams*, ACL 2012): the logarithm of how much more often it is on one side than on the other.

    Parameters
    ----------
    found
        CSR ``float32 [n, m]``, as `topwork.inputs.word_buckets.weigh` gives it, over the rows of ``goal``.
    """
    known = known_rows(goal.truth)
    there, truth = found[known], goal.truth[known]
    factor = _worth(there, goal.link, truth)
    weighed = there.multiply(factor).tocsr()
    # The mean text has length 1, so that a strength means the same for long texts and short ones.
    length = max(float(np.sqrt(weighed.multiply(weighed).sum() / max(1, len(truth)))), 1e-9)
    weighed = (weighed / length).astype(np.float32)
    weight, bias = _linear(fit_at(weighed, goal.link, truth, strength, goal.n_outputs), found.shape[1])
    return WordWeights(weight * (factor / length).astype(np.float32)[:, None], bias)


def _worth(found: Any, link: Link, truth: Array) -> Array:
    """Return what each word is worth ``float64 [m]``: 0 where too few texts have it."""
    n_texts, n_words = found.shape
    n_with = np.bincount(found.indices, minlength=n_words)
    least = _LEAST_TEXTS if n_texts > _FEW_TEXTS else 1
    worth = np.zeros(n_words)
    for side in _sides(link, truth):
        there = np.bincount(found[np.flatnonzero(side)].indices, minlength=n_words) + 1.0
        elsewhere = n_with + 2.0 - there
        ratio = np.log((there / there.sum()) / (elsewhere / elsewhere.sum()))
        worth = np.maximum(worth, np.abs(ratio))
    return np.where(n_with >= least, worth, 0.0)


def _sides(link: Link, truth: Array) -> list[Array]:
    """Return rows ``bool [n]`` that are set against the others: of a class, with a label, or above the middle."""
    if link == "softmax":
        return [truth == label for label in np.unique(truth)]
    if link == "sigmoid":
        return [truth[:, j] > 0 for j in range(truth.shape[1])]
    middle = truth[:, 0] if truth.ndim > 1 else truth
    return [middle > np.median(middle)]


def _linear(scores_of: Callable[[Any], Array], n_columns: int) -> tuple[Array, Array]:
    """Return weight and bias of a function that is linear, by asking it."""
    from scipy.sparse import csr_matrix, identity

    bias = np.asarray(scores_of(csr_matrix((1, n_columns), dtype=np.float32)), np.float64)[0]
    every = np.asarray(scores_of(identity(n_columns, np.float32, "csr")), np.float64)
    return (every - bias).astype(np.float32), bias


def mixed(goal: Goal, scores: Array, words: Sequence[Array], *, seed: int) -> tuple[int, float, Array]:
    """Choose on validation rows which of several words' scores to mix in, and how much: the network's are the rest.

    Parameters
    ----------
    goal
        Of the validation rows.
    scores
        The network's of these rows, ``[n, k]``, each calibrated by other rows.
    words
        The words' of these rows, of each strength.

    Returns
    -------
    The place of the chosen ones, their share, and the scores of the rows, each mixed and calibrated by other rows.
    """
    every = [
        (place, share, (1 - share) * scores + share * own)
        for place, own in enumerate(words)
        for share in SHARES
    ]
    known = np.flatnonzero(known_rows(goal.truth))
    halves = np.array_split(np.random.default_rng(seed).permutation(known), 2)
    out = scores.copy()
    for own, other in (halves, halves[::-1]):
        out[own] = _best(goal, every, other)[2][own]
    place, share, _ = _best(goal, every, known)
    return place, share, solver_of(goal.link).cross_calibrate(goal.truth, out, seed=seed)


def _best(goal: Goal, every: Sequence[_Mixture], rows: Array) -> _Mixture:
    """Return the mixture that costs least on some rows, once it is calibrated on them."""
    truth, solver = goal.truth[rows], solver_of(goal.link)

    def loss(one: _Mixture) -> float:
        own = one[2][rows]
        return float(losses_of(goal.link, truth, solver.calibrate(truth, own).apply(own)).mean())

    return min(every, key=loss) if len(rows) else every[0]
