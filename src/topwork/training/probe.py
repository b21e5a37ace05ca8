"""The probe: multinomial logistic regression on frozen features, in seconds.

What is minimised, for the inverse regularisation strength C that cross-validation chooses, is

    C · Σᵢ wᵢ · nll(softmax(zᵢ W + b), yᵢ) + ½ ‖W‖²

over centred and scaled features z (as scikit-learn's ``LogisticRegression``; Hastie, Tibshirani and Friedman, *The
Elements of Statistical Learning*, 2nd ed., section 4.4). Features with units of their own are standardised. Those of
a network have a unit in common, and how much one varies says something of what it is worth: they are divided by the
square root of their deviation (Pareto scaling; van den Berg et al., *Centering, Scaling, and Transformations*, BMC
Genomics 7, 2006). With few rows that matters: standardised, a feature that hardly moved on these would weigh as much as
any other. Three things make it quick without changing the answer:

- the problem is solved along the principal axes of the features, where a diagonal preconditioner from Böhning's
  bound on the curvature (*Annals of the Institute of Statistical Mathematics* 44, 1992) makes L-BFGS need about
  a dozen steps; with fewer rows than features that space is also the smaller one;
- all folds are solved in one matrix product;
- each C starts from the solution of the one before.

Rows are weighted by the inverse square root of their class's share, so that a rare class has a say; the
calibration on held-out rows afterwards brings the natural shares back. It knows no label names and no files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

import numpy as np

from topwork.contracts import Array, Fold, Goal, LinearHead, known_rows
from topwork.training.axes import Axes
from topwork.training.calibration import Calibration, calibrate, cross_calibrate
from topwork.training.lbfgs import minimise

__all__ = [
    "EvenSolver",
    "RowLoss",
    "SoftmaxSolver",
    "Solution",
    "Solve",
    "class_weights",
    "cross_validate",
    "cross_validate_by",
    "descend",
    "held_out",
    "log_loss",
    "solve",
    "strengths",
    "weights_of_folds",
]


def class_weights(truth: Array, n_classes: int) -> Array:
    """Return ``float32 [n]``: the inverse square root of each row's class share, mean 1; 0 where truth is -1.

    Mahajan et al., *Exploring the Limits of Weakly Supervised Pretraining*, 2018, section 2.2, weigh so.
    """
    known = truth >= 0
    shares = np.bincount(truth[known], minlength=n_classes) / max(1, known.sum())
    weights = np.where(known, 1 / np.sqrt(np.maximum(shares[truth], 1e-12)), 0)
    return np.asarray(weights * known.sum() / max(weights.sum(), 1e-12), dtype=np.float32)


def strengths(n_rows: int) -> tuple[float, ...]:
    """Return the values of C to try, from strong to weak regularisation; the grid moves with the row count."""
    return tuple(float(c) for c in 10.0 ** np.arange(-1.5, 3.01, 0.5) / n_rows)


@dataclass(frozen=True, slots=True)
class Solution:
    """Weights ``float64 [r, f, k]`` and biases ``[f, k]`` of ``f`` problems that share their axes."""

    weight: Array
    bias: Array


def solve(
    axes: Axes, truth: Array, weights: Array, n_classes: int, strength: float, start: Solution | None = None
) -> Solution:
    """Minimise the objective for ``f`` sets of row weights at once.

    Parameters
    ----------
    axes
        Of ``n`` rows.
    truth
        ``int64 [n]``; rows with -1 must weigh 0.
    weights
        ``float32 [n, f]``, one column per problem; 0 leaves a row out.
    n_classes
        k.
    strength
        C per row of mean weight 1.
    start
        Solution to begin from.
    """
    return descend(axes, weights, partial(_nll, axes, truth), n_classes, strength, start)


RowLoss: TypeAlias = Callable[[Array, Array, Array], tuple[float, Array, Array]]
"""Takes row weights ``[n, f]``, weights ``[r, f, k]`` and biases ``[f, k]``; gives the weighted sum of the rows' losses
and its gradients by weight and bias."""


def descend(
    axes: Axes,
    weights: Array,
    loss_of: RowLoss,
    n_outputs: int,
    strength: float,
    start: Solution | None = None,
) -> Solution:
    """Minimise a loss of the rows with an L2 penalty on the weights, for ``f`` sets of row weights at once.

    Parameters
    ----------
    axes, weights, strength, start
        As for `solve`.
    loss_of
        Convex, of about the curvature of a logistic loss along each axis: at most its variance.
    n_outputs
        k.
    """
    r, f = len(axes.variance), weights.shape[1]
    totals = np.maximum(weights.sum(axis=0, dtype=np.float64), 1e-12)
    decay = 1 / (strength * totals)  # of the objective divided by C and the total weight
    precondition = 1 / np.sqrt(0.5 * axes.variance[:, None] + decay)[:, :, None]
    shape = (r + 1, f, n_outputs)

    def objective(flat: Array) -> tuple[float, Array]:
        u = flat.reshape(shape)
        weight = u[:r] * precondition
        loss, by_weight, by_bias = loss_of(weights / totals, weight, u[r])
        loss += 0.5 * float((decay[:, None] * weight**2).sum())
        by_weight = (by_weight + decay[:, None] * weight) * precondition
        return loss, np.concatenate([by_weight, by_bias[None]]).ravel()

    first = np.zeros(shape)
    if start is not None:
        first[:r], first[r] = start.weight / precondition, start.bias
    u = minimise(objective, first.ravel()).reshape(shape)
    return Solution(u[:r] * precondition, u[r])


def _nll(axes: Axes, truth: Array, weights: Array, weight: Array, bias: Array) -> tuple[float, Array, Array]:
    """Return the weighted loss and its gradients by weight ``[r, f, k]`` and bias ``[f, k]``."""
    r, f, k = weight.shape
    flat = weight.reshape(r, f * k).astype(np.float32)
    loss, product, total = 0.0, np.zeros((axes.features.shape[1], f * k)), np.zeros(f * k)
    for rows, block, scores in axes.chunks(flat):
        scores = scores.reshape(-1, f, k) + bias.astype(np.float32)
        scores -= scores.max(axis=2, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=2, keepdims=True)
        w, y = weights[rows], np.maximum(truth[rows], 0)
        here = np.arange(len(y))
        loss -= float((w * np.log(np.maximum(scores[here, :, y], 1e-30))).sum())
        scores[here, :, y] -= 1
        g = (scores * w[:, :, None]).reshape(-1, f * k).astype(np.float32)
        product += block.T @ g
        total += g.sum(axis=0)
    return loss, axes.gather(product, total).reshape(r, f, k), total.reshape(f, k)


def cross_validate(
    axes: Axes,
    truth: Array,
    folds: Sequence[Fold],
    n_classes: int,
    strength: float,
    start: Solution | None = None,
) -> tuple[Array, Solution]:
    """Return held-out scores ``float64 [n, k]`` (NaN where no fold holds a row out) and the folds' solution."""
    weights = weights_of_folds(class_weights(truth, n_classes), folds)
    found = solve(axes, truth, weights, n_classes, strength, start)
    return held_out(axes, folds, found, n_classes), found


class Solve(Protocol):
    """Minimises a loss of the rows with an L2 penalty for ``f`` sets of row weights at once, as `solve` does."""

    def __call__(
        self, axes: Axes, truth: Array, weights: Array, strength: float, start: Solution | None = None
    ) -> Solution:
        """Take truth of ``n`` rows, weights ``float32 [n, f]``, C, and where to begin."""
        ...


def cross_validate_by(
    solve: Solve,
    axes: Axes,
    truth: Array,
    folds: Sequence[Fold],
    strength: float,
    start: Solution | None = None,
) -> tuple[Array, Solution]:
    """Hold out as `cross_validate` does, by any loss; every row that has a truth weighs the same."""
    weights = weights_of_folds(known_rows(truth).astype(np.float32), folds)
    found = solve(axes, truth, weights, strength, start)
    return held_out(axes, folds, found, found.bias.shape[1]), found


def weights_of_folds(base: Array, folds: Sequence[Fold]) -> Array:
    """Return ``float32 [n, f]``: the weights ``[n]`` of the rows that each fold is fitted on, 0 for the others."""
    weights = np.zeros((len(base), len(folds)), dtype=np.float32)
    for j, fold in enumerate(folds):
        weights[fold.train, j] = base[fold.train]
    return weights


def held_out(axes: Axes, folds: Sequence[Fold], found: Solution, k: int) -> Array:
    """Return the scores ``float64 [n, k]`` of each row by the fold that did not see it; NaN where there is none."""
    scores = np.full((len(axes), k), np.nan)
    fold_of = np.full(len(axes), -1)
    for j, fold in enumerate(folds):
        fold_of[fold.valid] = j
    flat = found.weight.reshape(len(found.weight), len(folds) * k).astype(np.float32)
    for rows, _, product in axes.chunks(flat):
        every = product.reshape(len(product), len(folds), k) + found.bias
        here = np.flatnonzero(fold_of[rows] >= 0)
        scores[rows][here] = every[here, fold_of[rows][here]]
    return scores


def log_loss(truth: Array, scores: Array) -> float:
    """Return the mean negative log-likelihood in nats over rows that have a truth and held-out scores."""
    known = (truth >= 0) & ~np.isnan(scores[:, 0])
    s = scores[known] - scores[known].max(axis=1, keepdims=True)
    picked = s[np.arange(len(s)), truth[known]]
    return float(np.mean(np.log(np.exp(s).sum(axis=1)) - picked)) if len(s) else float("nan")


@dataclass(frozen=True, slots=True)
class EvenSolver:
    """The part of a solver that does not differ wherever every row weighs the same, a rare label like any other."""

    solve: Solve

    def cross_validate(
        self, axes: Axes, goal: Goal, folds: Sequence[Fold], strength: float, start: Solution | None
    ) -> tuple[Array, Solution]:
        """Solve all folds at once."""
        return cross_validate_by(self.solve, axes, goal.truth, folds, strength, start)

    def head(self, axes: Axes, goal: Goal, strength: float) -> LinearHead:
        """Fit a head; its answers have the shares that the rows have."""
        weights = known_rows(goal.truth).astype(np.float32)[:, None]
        solution = self.solve(axes, goal.truth, weights, strength)
        return axes.head(solution.weight[:, 0], solution.bias[0])

    def finished_head(self, axes: Axes, goal: Goal, strength: float) -> LinearHead:
        """Return `head`, which has nothing to be given back."""
        return self.head(axes, goal, strength)


@dataclass(frozen=True, slots=True)
class SoftmaxSolver:
    """Multinomial logistic regression, rare classes weighed up, calibrated by temperature and shifts."""

    def cross_validate(
        self, axes: Axes, goal: Goal, folds: Sequence[Fold], strength: float, start: Solution | None
    ) -> tuple[Array, Solution]:
        """Solve all folds at once."""
        return cross_validate(axes, goal.truth, folds, goal.n_outputs, strength, start)

    def loss(self, truth: Array, scores: Array) -> float:
        """Return the log loss in nats."""
        return log_loss(truth, scores)

    def head(self, axes: Axes, goal: Goal, strength: float) -> LinearHead:
        """Fit a head whose scores are those of classes of more equal size than they are."""
        solution = self._solved(axes, goal, strength)
        return axes.head(solution.weight[:, 0], solution.bias[0])

    def finished_head(self, axes: Axes, goal: Goal, strength: float) -> LinearHead:
        """Give the classes' shares back, which weighing the rows took out of the answers."""
        solution = self._solved(axes, goal, strength)
        return axes.head(solution.weight[:, 0], solution.bias[0] + self.blind_scores(goal))

    def _solved(self, axes: Axes, goal: Goal, strength: float) -> Solution:
        weights = class_weights(goal.truth, goal.n_outputs)[:, None]
        return solve(axes, goal.truth, weights, goal.n_outputs, strength)

    def calibrate(self, truth: Array, scores: Array) -> Calibration:
        """Fit a temperature and a shift per class."""
        return calibrate(truth, scores)

    def cross_calibrate(self, truth: Array, scores: Array, *, seed: int) -> Array:
        """Deal the rows to parts, each calibrated by the others."""
        return cross_calibrate(truth, scores, seed=seed)

    def blind_scores(self, goal: Goal) -> Array:
        """Return the logarithms of the classes' shares, one row added to each class."""
        shares = np.bincount(goal.truth[known_rows(goal.truth)], minlength=goal.n_outputs) + 1.0
        return np.asarray(np.log(shares / shares.sum()))
