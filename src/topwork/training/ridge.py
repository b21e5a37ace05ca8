"""Ridge regression on frozen features: the probe of what is a number.

What is minimised, for the inverse regularisation strength C that cross-validation chooses, is

    C · Σᵢ wᵢ · ½ (zᵢ W + b − yᵢ)² + ½ ‖W‖²

over standardised features z, which is scikit-learn's ``Ridge`` with alpha = 1 / C (Hoerl and Kennard, *Ridge
Regression*, 1970). The axes, the folds in one product and the path of C are those of the logistic probe. It knows no
unit: truth comes standardised.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from topwork.contracts import Array, Goal, known_rows
from topwork.training.axes import Axes
from topwork.training.calibration import Calibration
from topwork.training.probe import EvenSolver, Solution, Solve, descend

__all__ = ["IdentitySolver", "mean_squared_error", "solve_ridge"]


def solve_ridge(
    axes: Axes, truth: Array, weights: Array, strength: float, start: Solution | None = None
) -> Solution:
    """Minimise the objective for ``f`` sets of row weights at once.

    Parameters
    ----------
    truth
        ``float64 [n]``; rows with NaN must weigh 0.
    weights
        ``float32 [n, f]``, one column per problem; 0 leaves a row out.
    strength
        C per row of mean weight 1.
    """
    return descend(axes, weights, partial(_squares, axes, np.nan_to_num(truth)), 1, strength, start)


def _squares(
    axes: Axes, truth: Array, weights: Array, weight: Array, bias: Array
) -> tuple[float, Array, Array]:
    """Return half the weighted sum of squares and its gradients by weight ``[r, f, 1]`` and bias ``[f, 1]``."""
    r, f, _ = weight.shape
    loss, product, total = 0.0, np.zeros((axes.features.shape[1], f)), np.zeros(f)
    for rows, block, scores in axes.chunks(weight[:, :, 0].astype(np.float32)):
        off = scores + bias[:, 0] - truth[rows, None]
        g = weights[rows] * off
        loss += 0.5 * float((g * off).sum())
        product += block.T @ g.astype(np.float32)
        total += g.sum(axis=0)
    return loss, axes.gather(product, total).reshape(r, f, 1), total.reshape(f, 1)


def mean_squared_error(truth: Array, scores: Array) -> float:
    """Return the mean squared error over rows that have a truth and held-out scores; NaN without any."""
    known = known_rows(truth) & ~np.isnan(scores[:, 0])
    return float(np.mean((scores[known, 0] - truth[known]) ** 2)) if known.any() else float("nan")


@dataclass(frozen=True, slots=True)
class IdentitySolver(EvenSolver):
    """Ridge regression; its scores are what they should be, so that calibrating changes nothing."""

    solve: Solve = solve_ridge

    def loss(self, truth: Array, scores: Array) -> float:
        """Return the mean squared error."""
        return mean_squared_error(truth, scores)

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
