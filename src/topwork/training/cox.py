"""Cox regression on frozen features: the probe of what takes time to happen.

What is minimised, for the inverse regularisation strength C that cross-validation chooses, is

    C · −log L(z W) + ½ ‖W‖²

over standardised features z, L being Cox's partial likelihood with Efron's rule for ties (`evaluation/survival.py`).
There is no bias: only differences between scores count, so every head is shifted to an average of 0 over the rows
that it was fitted on, and scores of different folds can stand side by side. The axes, the folds in one product and the
path of C are those of the logistic probe. It knows no unit of time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from topwork.contracts import Array, Goal, known_rows
from topwork.evaluation.survival import RiskSets, cox_losses
from topwork.training.axes import Axes
from topwork.training.calibration import Calibration, cross_calibrate_by
from topwork.training.lbfgs import minimise
from topwork.training.moments import CHUNK_ROWS
from topwork.training.probe import EvenSolver, Solution, Solve, descend

__all__ = [
    "HazardSolver",
    "calibrate_hazards",
    "cross_calibrate_hazards",
    "mean_cox_loss",
    "solve_cox",
    "weights_of_columns",
]

_LARGEST_EXPONENT = 100.0
"""A first step may be far too long; what it leads to need only be finite to be refused."""


def solve_cox(
    axes: Axes, truth: Array, weights: Array, strength: float, start: Solution | None = None
) -> Solution:
    """Minimise the objective for ``f`` sets of rows at once.

    Parameters
    ----------
    truth
        ``float64 [n, 2]``; rows with NaN must weigh 0.
    weights
        ``float32 [n, f]``, one column per problem: 1 for its rows and 0 for the others.
    strength
        C.
    """
    sets = RiskSets.of(truth, weights > 0)
    found = descend(axes, weights, partial(_minus_log_likelihood, axes, sets), 1, strength, start)
    averages = (weights * _scores(axes, found.weight)).sum(axis=0) / np.maximum(weights.sum(axis=0), 1)
    return Solution(found.weight, -averages[:, None])


def _minus_log_likelihood(
    axes: Axes, sets: RiskSets, weights: Array, weight: Array, bias: Array
) -> tuple[float, Array, Array]:
    """Return the weighted loss and its gradients by weight ``[r, f, 1]`` and by a bias ``[f, 1]`` that has no say."""
    costs, pulls = sets.costs(_scores(axes, weight))
    g = weights * pulls
    product = np.zeros((axes.features.shape[1], g.shape[1]))
    for start in range(0, len(axes), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        product += axes.features[rows].T @ g[rows].astype(np.float32)
    gradient = axes.gather(product, g.sum(axis=0))
    return float((weights * costs).sum()), gradient.reshape(weight.shape), np.zeros(bias.shape)


def _scores(axes: Axes, weight: Array) -> Array:
    """Return ``float64 [n, f]``: the scores of all rows by each problem's weights ``[r, f, 1]``."""
    parts = [scores for _, _, scores in axes.chunks(weight[:, :, 0].astype(np.float32))]
    return np.concatenate(parts).astype(np.float64)


def mean_cox_loss(truth: Array, scores: Array) -> float:
    """Return minus the log partial likelihood per row that has a truth and held-out scores; NaN without any."""
    known = known_rows(truth) & ~np.isnan(scores[:, 0])
    return float(cox_losses(truth[known], scores[known]).mean()) if known.any() else float("nan")


def calibrate_hazards(truth: Array, scores: Array) -> Calibration:
    """Fit by how much held-out scores ``[n, 1]`` exaggerate, and shift them to an average of 0.

    The scale is the coefficient of a Cox regression on the score, with one unit of L2 penalty on its logarithm, as for
    classes: so it stays positive, and hardly moves on the evidence of a few events.
    """
    there = ~np.isnan(scores[:, 0])
    if not there.any():
        return Calibration(1.0, np.zeros(1))
    middle = np.asarray(scores[there].mean(axis=0), np.float64)
    scale = _scale(truth, scores - middle)
    return Calibration(scale, -scale * middle)


def cross_calibrate_hazards(truth: Array, scores: Array, *, seed: int) -> Array:
    """Calibrate each part of the rows by the others; the shift uses no truth, and is common to all parts."""
    if np.isnan(scores).all():
        return np.asarray(scores, np.float64)
    centred = scores - np.nanmean(scores, axis=0)
    return cross_calibrate_by(lambda t, s: Calibration(_scale(t, s), np.zeros(1)), truth, centred, seed=seed)


def _scale(truth: Array, scores: Array) -> float:
    known = known_rows(truth) & ~np.isnan(scores[:, 0])
    sets, s = RiskSets.of(truth[known]), np.asarray(scores[known], np.float64)

    def objective(p: Array) -> tuple[float, Array]:
        scale = np.exp(min(p[0], _LARGEST_EXPONENT))
        costs, pulls = sets.costs(s * scale)
        slope = (pulls * s).sum() * scale
        return float(costs.sum() + 0.5 * p[0] ** 2) / len(s), np.array([slope + p[0]]) / len(s)

    return float(np.exp(minimise(objective, np.zeros(1))[0])) if len(s) else 1.0


def weights_of_columns(features: Any, truth: Array, strength: float) -> Array:
    """Return the weights ``float64 [m]`` of the columns of a matrix that knows ``@`` and ``T``, such as a sparse one.

    Parameters
    ----------
    features
        ``[n, m]``, as they come: columns are neither shifted nor scaled.
    truth
        ``float64 [n, 2]``, of every row.
    strength
        C.
    """
    sets, scale = RiskSets.of(truth), 1 / (strength * max(1, len(truth)))

    def objective(weight: Array) -> tuple[float, Array]:
        costs, pulls = sets.costs((features @ weight)[:, None])
        loss = costs.sum() / max(1, len(truth)) + 0.5 * scale * (weight**2).sum()
        return float(loss), features.T @ pulls[:, 0] / max(1, len(truth)) + scale * weight

    return minimise(objective, np.zeros(features.shape[1]))


@dataclass(frozen=True, slots=True)
class HazardSolver(EvenSolver):
    """Cox regression as `links.Solver` asks for it; scores average 0, and are calibrated by one slope."""

    solve: Solve = solve_cox

    def loss(self, truth: Array, scores: Array) -> float:
        """Return minus the log partial likelihood per row, in nats."""
        return mean_cox_loss(truth, scores)

    def calibrate(self, truth: Array, scores: Array) -> Calibration:
        """Fit a slope, and shift the scores to an average of 0."""
        return calibrate_hazards(truth, scores)

    def cross_calibrate(self, truth: Array, scores: Array, *, seed: int) -> Array:
        """Deal the rows to parts, each with its share of the events and calibrated by the others."""
        return cross_calibrate_hazards(truth, scores, seed=seed)

    def blind_scores(self, goal: Goal) -> Array:
        """Return 0, the hazard of the average row."""
        del goal
        return np.zeros(1)
