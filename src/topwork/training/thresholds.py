"""Ordered classes by the thresholds between them: the probe of what is a rank. It knows no label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from topwork.contracts import Array, Fold, Goal, LinearHead
from topwork.evaluation.ordinal import exceeded
from topwork.training.axes import Axes
from topwork.training.calibration import Calibration, cross_calibrate_by
from topwork.training.probe import Solution
from topwork.training.sigmoid import SigmoidSolver

__all__ = ["CumulativeSolver"]


_EACH = SigmoidSolver()
_JOINED = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Shares of the mean of all thresholds that are tried; of equally good ones the first."""


@dataclass(frozen=True, slots=True)
class CumulativeSolver:
    """A logistic regression for each threshold between ordered classes, which tells whether the rank is above it.

    That is Frank and Hall, *A Simple Approach to Ordinal Classification*, 2001. Proportional odds (McCullagh,
    *Regression Models for Ordinal Data*, 1980) have one direction for all thresholds; a linear head of k - 1 outputs
    has room for one each, and the thresholds then need no solver of their own. How far the directions are drawn
    together is found by calibration.
    """

    def cross_validate(
        self, axes: Axes, goal: Goal, folds: Sequence[Fold], strength: float, start: Solution | None
    ) -> tuple[Array, Solution]:
        """Solve all folds and thresholds at once."""
        return _EACH.cross_validate(axes, _above(goal), folds, strength, start)

    def loss(self, truth: Array, scores: Array) -> float:
        """Return the binary log loss in nats, averaged over the thresholds."""
        return _EACH.loss(exceeded(truth, scores.shape[1]), scores)

    def head(self, axes: Axes, goal: Goal, strength: float) -> LinearHead:
        """Fit a head; every row weighs the same."""
        return _EACH.head(axes, _above(goal), strength)

    def finished_head(self, axes: Axes, goal: Goal, strength: float) -> LinearHead:
        """Return `head`, whose answers already have the classes' shares."""
        return self.head(axes, goal, strength)

    def calibrate(self, truth: Array, scores: Array) -> Calibration:
        """Fit a temperature and a shift per threshold, and how much of each score is the mean of all.

        Where one direction tells all classes apart, the mean of the thresholds' scores knows it better than any of
        them, and their odds seldom cross; where it does not, none of it is taken.
        """
        above = exceeded(truth, scores.shape[1])
        found = (self._joined(above, scores, share) for share in _JOINED)
        return min(found, key=lambda one: _EACH.loss(above, one.apply(scores)))

    @staticmethod
    def _joined(above: Array, scores: Array, share: float) -> Calibration:
        joined = Calibration(1.0, np.zeros(scores.shape[1]), share).apply(scores)
        return replace(_EACH.calibrate(above, joined), joined=share)

    def cross_calibrate(self, truth: Array, scores: Array, *, seed: int) -> Array:
        """Deal the rows to parts, each with its share of every class and calibrated by the others."""
        return cross_calibrate_by(self.calibrate, truth, scores, seed=seed)

    def blind_scores(self, goal: Goal) -> Array:
        """Return the log odds of the shares above each threshold."""
        return _EACH.blind_scores(_above(goal))


def _above(goal: Goal) -> Goal:
    return replace(goal, truth=exceeded(goal.truth, goal.n_outputs))
