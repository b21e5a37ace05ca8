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

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeAlias

import numpy as np

from topwork.contracts import Array, Fold, Goal, LinearHead, known_rows, strata_of
from topwork.training.lbfgs import minimise
from topwork.training.moments import CHUNK_ROWS, moments

__all__ = [
    "Axes",
    "Calibration",
    "EvenSolver",
    "RowLoss",
    "SoftmaxSolver",
    "Solution",
    "Solve",
    "calibrate",
    "class_weights",
    "cross_calibrate",
    "cross_calibrate_by",
    "cross_validate",
    "cross_validate_by",
    "descend",
    "held_out",
    "log_loss",
    "quiet_blas",
    "solve",
    "strengths",
    "weights_of_folds",
]

_SMALL = 1000  # rows or features below which products are too small to share among threads
_CONSTANT = 1e-6  # a feature that varies less than this says nothing


@dataclass(frozen=True, slots=True)
class Axes:
    """Principal axes of centred and scaled features.

    Attributes
    ----------
    features
        ``float32 [n, d]`` as they came, or their coordinates ``[n, r]`` when that is the smaller matrix.
    project
        ``float32 [d, r]``: takes ``features - mean`` to coordinates.
    mean
        ``float32 [d]``.
    variance
        ``float64 [r]``: mean square of each coordinate.
    reduced
        Whether ``features`` already holds coordinates.
    """

    features: Array
    project: Array
    mean: Array
    variance: Array
    reduced: bool

    @classmethod
    def of(cls, features: Array, *, own_units: bool = True) -> Axes:
        """Find the axes of ``float32 [n, d]`` features; costs ``min(n, d)² max(n, d)`` operations.

        Parameters
        ----------
        own_units
            Whether each feature has a unit of its own, so that it must be standardised.
        """
        n, d = features.shape
        mean, deviation = moments(features)
        scale = _scale(deviation, own_units=own_units)
        if n < d:
            z = (features - mean) * scale
            values, vectors = np.linalg.eigh((z @ z.T).astype(np.float64) / n)
            keep = values > 1e-7 * max(values[-1], 1e-12)
            axes = z.T @ (vectors[:, keep] / np.sqrt(n * values[keep])).astype(np.float32)
            project = (scale[:, None] * axes).astype(np.float32)
            return cls((z @ axes).astype(np.float32), project, mean, values[keep], True)
        values, vectors = np.linalg.eigh(_covariance(features, mean, scale))
        keep = values > 1e-7 * max(values[-1], 1e-12)
        project = (scale[:, None] * vectors[:, keep]).astype(np.float32)
        return cls(features, project, mean, values[keep], False)

    def __len__(self) -> int:
        return len(self.features)

    def head(self, weight: Array, bias: Array) -> LinearHead:
        """Turn a solution ``[r, k]`` and ``[k]`` along the axes into a head on the features as they came."""
        back = self.project.astype(np.float64) @ weight
        return LinearHead(back.T.astype(np.float32), (bias - self.mean @ back).astype(np.float32))

    def chunks(self, weight: Array) -> Iterator[tuple[slice, Array, Array]]:
        """Yield ``rows, block, scores``: a block of features and its product with ``weight [r, m]``, no bias."""
        if not self.reduced:
            weight = self.project @ weight
            offset = self.mean @ weight
        for start in range(0, len(self), CHUNK_ROWS):
            rows = slice(start, min(start + CHUNK_ROWS, len(self)))
            block = self.features[rows]
            yield rows, block, block @ weight if self.reduced else block @ weight - offset

    def gather(self, product: Array, total: Array) -> Array:
        """Turn ``Σ blockᵀ g`` and ``Σ g`` into the gradient ``[r, m]`` along the axes."""
        return product if self.reduced else self.project.T @ (product - np.outer(self.mean, total))


def _scale(deviation: Array, *, own_units: bool) -> Array:
    """Return what each centred feature is multiplied by, so that the mean variance of those that vary is 1."""
    varies = deviation > _CONSTANT
    inverse = np.where(varies, 1 / np.maximum(deviation, _CONSTANT), 0)
    if own_units or not varies.any():
        return np.asarray(inverse)
    return np.asarray(np.sqrt(inverse / deviation[varies].mean()), dtype=deviation.dtype)


def _covariance(features: Array, mean: Array, scale: Array) -> Array:
    total = np.zeros((features.shape[1],) * 2)
    for start in range(0, len(features), CHUNK_ROWS):
        z = (features[start : start + CHUNK_ROWS] - mean) * scale
        total += z.T @ z
    return total / len(features)


def quiet_blas(features: Array) -> AbstractContextManager[object]:
    """Keep matrix products on one thread while the matrices are small.

    Waking threads for a product of a millisecond costs more than it saves, and several times the product itself
    where another process wants the same cores.
    """
    from threadpoolctl import threadpool_limits

    quiet: AbstractContextManager[object] = threadpool_limits(
        limits=1 if min(features.shape) < _SMALL else None, user_api="blas"
    )
    return quiet


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
class Calibration:
    """``calibrated = scores * scale + shift``; ``scale`` is one over the temperature or ``[k]`` of them.

    Before that, ``joined`` of each score (0 to 1) is replaced by the mean of all scores of its row.
    """

    scale: float | Array
    shift: Array
    joined: float = 0.0

    def apply(self, scores: Array) -> Array:
        """Calibrate scores ``[n, k]``."""
        return self._join(scores, axis=1) * self.scale + self.shift

    def _join(self, scores: Array, axis: int) -> Array:
        if not self.joined:
            return scores
        mean = scores.mean(axis=axis, keepdims=True)
        return np.asarray((1 - self.joined) * scores + self.joined * mean)

    def fold_into(self, head: LinearHead) -> LinearHead:
        """Return a head whose scores are already calibrated."""
        return replace(
            head,
            weight=(self._join(head.weight, axis=0) * np.reshape(self.scale, (-1, 1))).astype(np.float32),
            bias=(self._join(head.bias, axis=0) * self.scale + self.shift).astype(np.float32),
        )


_N_PARTS = 5  # of the rows, each calibrated by the others
_LARGEST_EXPONENT = 100.0
"""A first step may be far too long; what it leads to need only be finite to be refused."""


def calibrate(truth: Array, scores: Array) -> Calibration:
    """Fit a temperature and a shift per class on held-out scores.

    Temperature scaling is Guo et al., *On Calibration of Modern Neural Networks*, 2017; the shifts undo the class
    weights, as the prior correction of King and Zeng, *Logistic Regression in Rare Events Data*, 2001, does. A
    unit of L2 penalty on each keeps small classes from being shifted on the evidence of a handful of rows.
    """
    known = (truth >= 0) & ~np.isnan(scores[:, 0])
    s, y, k = scores[known], truth[known], scores.shape[1]
    if not len(y):
        return Calibration(1.0, np.zeros(k))

    def objective(p: Array) -> tuple[float, Array]:
        scale = np.exp(min(p[0], _LARGEST_EXPONENT))
        z = s * scale + p[1:]
        z -= z.max(axis=1, keepdims=True)
        probability = np.exp(z)
        probability /= probability.sum(axis=1, keepdims=True)
        here = np.arange(len(y))
        loss = -np.log(np.maximum(probability[here, y], 1e-300)).sum() + 0.5 * (p**2).sum()
        probability[here, y] -= 1
        slope = np.concatenate([[(probability * s).sum() * scale], probability.sum(axis=0)]) + p
        return float(loss) / len(y), slope / len(y)

    p = minimise(objective, np.zeros(k + 1))
    return Calibration(float(np.exp(p[0])), p[1:])


def cross_calibrate(truth: Array, scores: Array, *, seed: int) -> Array:
    """Calibrate every row by what the other rows say, for choosing by and for judging.

    A calibration has one parameter more than there are classes, and flatters the rows that it was fitted on: by
    about half a nat for each parameter, shared among the rows. So the rows are dealt to five parts, each with its
    share of every class as far as the rows go, and each part has the calibration of the four others.

    Parameters
    ----------
    truth
        ``int64 [n]``; a row with -1 has no say, and the calibration of all others.
    scores
        ``float [n, k]``; NaN where a row was not held out, and there NaN comes back.
    seed
        Of the dealing.

    Returns
    -------
    ``float64 [n, k]``.
    """
    return cross_calibrate_by(calibrate, truth, scores, seed=seed)


def cross_calibrate_by(
    fit: Callable[[Array, Array], Calibration], truth: Array, scores: Array, *, seed: int
) -> Array:
    """Calibrate as `cross_calibrate` does, by any calibration; parts have their share of each of `strata_of`."""
    strata = strata_of(truth)
    known = np.flatnonzero((strata >= 0) & ~np.isnan(scores[:, 0]))
    shuffled = np.random.default_rng(seed).permutation(known)
    by_class = shuffled[np.argsort(strata[shuffled], kind="stable")]
    part = np.full(len(truth), -1)
    part[by_class] = np.arange(len(known)) % _N_PARTS
    found = np.full(scores.shape, np.nan)
    for own in np.unique(part):
        others = known[part[known] != own]
        found[part == own] = fit(truth[others], scores[others]).apply(scores[part == own])
    return found


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
