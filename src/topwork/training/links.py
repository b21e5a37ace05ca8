"""What a linear head needs for each way in which scores become predictions: fitting, holding out, calibrating.

A recipe asks `solver_of` for the solver of a goal's link and knows no more of it. A new link is one class here, a loss
in `losses.py` and one in ``evaluation/links.py``. It knows no label and no unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np

from topwork.contracts import Array, Fold, Goal, LinearHead, Link, known_rows
from topwork.evaluation.ordinal import exceeded
from topwork.training import probe, ridge, sigmoid
from topwork.training.cox import HazardSolver
from topwork.training.probe import Axes, Calibration, Solution

__all__ = ["CumulativeSolver", "IdentitySolver", "SigmoidSolver", "SoftmaxSolver", "Solver", "solver_of"]


class Solver(Protocol):
    """Linear heads of one link, on features of any kind."""

    def cross_validate(
        self, axes: Axes, goal: Goal, folds: Sequence[Fold], strength: float, start: Solution | None
    ) -> tuple[Array, Solution]:
        """Return held-out scores ``float64 [n, k]`` (NaN where no fold holds a row out) and where to go on from."""
        ...

    def loss(self, truth: Array, scores: Array) -> float:
        """Return what the scores cost on average; rows without truth or scores do not count."""
        ...

    def head(self, axes: Axes, goal: Goal, strength: float) -> LinearHead:
        """Fit a head on all rows that have a truth; it is not calibrated yet."""
        ...

    def finished_head(self, axes: Axes, goal: Goal, strength: float) -> LinearHead:
        """Fit a head that is calibrated by what is known beforehand, where no row is held out to do it on."""
        ...

    def calibrate(self, truth: Array, scores: Array) -> Calibration:
        """Fit a calibration on held-out scores ``[n, k]``."""
        ...

    def cross_calibrate(self, truth: Array, scores: Array, *, seed: int) -> Array:
        """Calibrate every row by what other rows say, ``float64 [n, k]``."""
        ...

    def blind_scores(self, goal: Goal) -> Array:
        """Return the scores ``float64 [k]`` of a model that ignores its input."""
        ...


@dataclass(frozen=True, slots=True)
class SoftmaxSolver:
    """Multinomial logistic regression, rare classes weighed up, calibrated by temperature and shifts."""

    def cross_validate(
        self, axes: Axes, goal: Goal, folds: Sequence[Fold], strength: float, start: Solution | None
    ) -> tuple[Array, Solution]:
        """Solve all folds at once."""
        return probe.cross_validate(axes, goal.truth, folds, goal.n_outputs, strength, start)

    def loss(self, truth: Array, scores: Array) -> float:
        """Return the log loss in nats."""
        return probe.log_loss(truth, scores)

    def head(self, axes: Axes, goal: Goal, strength: float) -> LinearHead:
        """Fit a head whose scores are those of classes of more equal size than they are."""
        solution = self._solved(axes, goal, strength)
        return axes.head(solution.weight[:, 0], solution.bias[0])

    def finished_head(self, axes: Axes, goal: Goal, strength: float) -> LinearHead:
        """Give the classes' shares back, which weighing the rows took out of the answers."""
        solution = self._solved(axes, goal, strength)
        return axes.head(solution.weight[:, 0], solution.bias[0] + self.blind_scores(goal))

    def _solved(self, axes: Axes, goal: Goal, strength: float) -> Solution:
        weights = probe.class_weights(goal.truth, goal.n_outputs)[:, None]
        return probe.solve(axes, goal.truth, weights, goal.n_outputs, strength)

    def calibrate(self, truth: Array, scores: Array) -> Calibration:
        """Fit a temperature and a shift per class."""
        return probe.calibrate(truth, scores)

    def cross_calibrate(self, truth: Array, scores: Array, *, seed: int) -> Array:
        """Deal the rows to parts, each calibrated by the others."""
        return probe.cross_calibrate(truth, scores, seed=seed)

    def blind_scores(self, goal: Goal) -> Array:
        """Return the logarithms of the classes' shares, one row added to each class."""
        shares = np.bincount(goal.truth[known_rows(goal.truth)], minlength=goal.n_outputs) + 1.0
        return np.asarray(np.log(shares / shares.sum()))


@dataclass(frozen=True, slots=True)
class IdentitySolver:
    """Ridge regression; its scores are what they should be, so that calibrating changes nothing."""

    def cross_validate(
        self, axes: Axes, goal: Goal, folds: Sequence[Fold], strength: float, start: Solution | None
    ) -> tuple[Array, Solution]:
        """Solve all folds at once."""
        return ridge.cross_validate_ridge(axes, goal.truth, folds, strength, start)

    def loss(self, truth: Array, scores: Array) -> float:
        """Return the mean squared error."""
        return ridge.mean_squared_error(truth, scores)

    def head(self, axes: Axes, goal: Goal, strength: float) -> LinearHead:
        """Fit a head; every row weighs the same."""
        weights = known_rows(goal.truth).astype(np.float32)[:, None]
        solution = ridge.solve_ridge(axes, goal.truth, weights, strength)
        return axes.head(solution.weight[:, 0], solution.bias[0])

    def finished_head(self, axes: Axes, goal: Goal, strength: float) -> LinearHead:
        """Return `head`."""
        return self.head(axes, goal, strength)

    def calibrate(self, truth: Array, scores: Array) -> Calibration:
        """Change nothing: a least-squares fit has nothing like a temperature to be put right."""
        del truth
        return Calibration(1.0, np.zeros(scores.shape[1]))

    def cross_calibrate(self, truth: Array, scores: Array, *, seed: int) -> Array:
        """Return the scores as they are."""
        del truth, seed
        return np.asarray(scores, np.float64)

    def blind_scores(self, goal: Goal) -> Array:
        """Return the mean."""
        return np.array([goal.truth[known_rows(goal.truth)].mean()])


@dataclass(frozen=True, slots=True)
class SigmoidSolver:
    """A logistic regression for each label, every row weighing the same, calibrated label by label."""

    def cross_validate(
        self, axes: Axes, goal: Goal, folds: Sequence[Fold], strength: float, start: Solution | None
    ) -> tuple[Array, Solution]:
        """Solve all folds and labels at once."""
        return sigmoid.cross_validate_labels(axes, goal.truth, folds, strength, start)

    def loss(self, truth: Array, scores: Array) -> float:
        """Return the binary log loss in nats, averaged over the labels."""
        return sigmoid.binary_log_loss(truth, scores)

    def head(self, axes: Axes, goal: Goal, strength: float) -> LinearHead:
        """Fit a head; a rare label is weighed like any other, so that its share is kept."""
        weights = known_rows(goal.truth).astype(np.float32)[:, None]
        solution = sigmoid.solve_labels(axes, goal.truth, weights, strength)
        return axes.head(solution.weight[:, 0], solution.bias[0])

    def finished_head(self, axes: Axes, goal: Goal, strength: float) -> LinearHead:
        """Return `head`, whose answers already have the labels' shares."""
        return self.head(axes, goal, strength)

    def calibrate(self, truth: Array, scores: Array) -> Calibration:
        """Fit a temperature and a shift per label."""
        return sigmoid.calibrate_labels(truth, scores)

    def cross_calibrate(self, truth: Array, scores: Array, *, seed: int) -> Array:
        """Deal the rows to parts, each calibrated by the others."""
        return probe.cross_calibrate_by(sigmoid.calibrate_labels, truth, scores, seed=seed)

    def blind_scores(self, goal: Goal) -> Array:
        """Return the log odds of the labels' shares."""
        return sigmoid.label_odds(goal.truth)


@dataclass(frozen=True, slots=True)
class CumulativeSolver:
    """A logistic regression for each threshold between ordered classes, which tells whether the rank is above it.

    That is Frank and Hall, *A Simple Approach to Ordinal Classification*, 2001. Proportional odds (McCullagh,
    *Regression Models for Ordinal Data*, 1980) have one direction for all thresholds; a linear head of k - 1 outputs
    has room for one each, and the thresholds then need no solver of their own.
    """

    _each: SigmoidSolver = SigmoidSolver()

    def cross_validate(
        self, axes: Axes, goal: Goal, folds: Sequence[Fold], strength: float, start: Solution | None
    ) -> tuple[Array, Solution]:
        """Solve all folds and thresholds at once."""
        return self._each.cross_validate(axes, _above(goal), folds, strength, start)

    def loss(self, truth: Array, scores: Array) -> float:
        """Return the binary log loss in nats, averaged over the thresholds."""
        return self._each.loss(exceeded(truth, scores.shape[1]), scores)

    def head(self, axes: Axes, goal: Goal, strength: float) -> LinearHead:
        """Fit a head; every row weighs the same."""
        return self._each.head(axes, _above(goal), strength)

    def finished_head(self, axes: Axes, goal: Goal, strength: float) -> LinearHead:
        """Return `head`, whose answers already have the classes' shares."""
        return self.head(axes, goal, strength)

    def calibrate(self, truth: Array, scores: Array) -> Calibration:
        """Fit a temperature and a shift per threshold."""
        return self._each.calibrate(exceeded(truth, scores.shape[1]), scores)

    def cross_calibrate(self, truth: Array, scores: Array, *, seed: int) -> Array:
        """Deal the rows to parts, each with its share of every class and calibrated by the others."""
        return probe.cross_calibrate_by(self.calibrate, truth, scores, seed=seed)

    def blind_scores(self, goal: Goal) -> Array:
        """Return the log odds of the shares above each threshold."""
        return self._each.blind_scores(_above(goal))


def _above(goal: Goal) -> Goal:
    return replace(goal, truth=exceeded(goal.truth, goal.n_outputs))


_SOLVERS: Final[Mapping[Link, Solver]] = MappingProxyType(
    {
        "softmax": SoftmaxSolver(),
        "identity": IdentitySolver(),
        "sigmoid": SigmoidSolver(),
        "cumulative": CumulativeSolver(),
        "hazard": HazardSolver(),
    }
)


def solver_of(link: Link) -> Solver:
    """Return what fits linear heads of a link."""
    return _SOLVERS[link]
