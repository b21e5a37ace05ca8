"""One logistic regression for each label, all of them on the same axes: the probe of what may have several labels.

What is minimised, for the inverse regularisation strength C that cross-validation chooses, is

    C · Σᵢ wᵢ · Σⱼ nll(σ(zᵢ Wⱼ + bⱼ), yᵢⱼ) + ½ ‖W‖²

over standardised features z, which falls apart into one problem for each label: scikit-learn's ``LogisticRegression``,
one against the rest. C is common to all labels. The axes, the folds in one product and the path of C are those of the
multinomial probe. It knows no label names.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from topwork.contracts import Array, Goal, known_rows
from topwork.training.axes import Axes
from topwork.training.calibration import UNSURE, Calibration, cross_calibrate_by
from topwork.training.lbfgs import minimise
from topwork.training.probe import EvenSolver, Solution, Solve, descend

__all__ = [
    "SigmoidSolver",
    "binary_log_loss",
    "calibrate_labels",
    "label_odds",
    "solve_labels",
]

_LARGEST_EXPONENT = 100.0
"""A first step may be far too long; what it leads to need only be finite to be refused."""


def solve_labels(
    axes: Axes, truth: Array, weights: Array, strength: float, start: Solution | None = None
) -> Solution:
    """Minimise the objective for ``f`` sets of row weights at once.

    Parameters
    ----------
    truth
        ``int8 [n, k]`` of 0 and 1; rows with -1 must weigh 0.
    weights
        ``float32 [n, f]``, one column per problem; 0 leaves a row out.
    strength
        C per row of mean weight 1.
    """
    return descend(axes, weights, partial(_nll, axes, truth), truth.shape[1], strength, start)


def _nll(axes: Axes, truth: Array, weights: Array, weight: Array, bias: Array) -> tuple[float, Array, Array]:
    """Return the weighted loss and its gradients by weight ``[r, f, k]`` and bias ``[f, k]``."""
    r, f, k = weight.shape
    flat = weight.reshape(r, f * k).astype(np.float32)
    loss, product, total = 0.0, np.zeros((axes.features.shape[1], f * k)), np.zeros(f * k)
    for rows, block, product_of_block in axes.chunks(flat):
        scores = product_of_block.reshape(-1, f, k) + bias.astype(np.float32)
        wanted = np.maximum(truth[rows], 0).astype(np.float32)[:, None, :]
        w = weights[rows][:, :, None]
        loss += float((w * (np.logaddexp(0, scores) - wanted * scores)).sum(dtype=np.float64))
        g = (w * (_shares(scores) - wanted)).reshape(-1, f * k).astype(np.float32)
        product += block.T @ g
        total += g.sum(axis=0)
    return loss, axes.gather(product, total).reshape(r, f, k), total.reshape(f, k)


def _shares(scores: Array) -> Array:
    """Return the logistic function of log odds; by tanh, which does not overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * scores)))


def binary_log_loss(truth: Array, scores: Array) -> float:
    """Return the mean over rows and labels of the negative log-likelihood in nats; NaN without a row that counts."""
    known = known_rows(truth) & ~np.isnan(scores[:, 0])
    against = np.where(truth[known] > 0, -scores[known], scores[known])
    return float(np.logaddexp(0.0, against).mean()) if known.any() else float("nan")


def calibrate_labels(truth: Array, scores: Array) -> Calibration:
    """Fit a temperature and a shift for each label on held-out scores ``[n, k]``.

    That is Platt, *Probabilistic Outputs for Support Vector Machines*, 1999, with one unit of L2 penalty on the
    logarithm of each scale, from `UNSURE`, and on each shift in place of his smoothed targets, as for classes.
    """
    known = known_rows(truth) & ~np.isnan(scores[:, 0])
    s, wanted, k = np.asarray(scores[known], np.float64), truth[known], scores.shape[1]
    if not len(s):
        return Calibration(1.0, np.zeros(k))

    before = np.concatenate([np.full(k, UNSURE), np.zeros(k)])

    def objective(p: Array) -> tuple[float, Array]:
        scale, shift = np.exp(np.minimum(p[:k], _LARGEST_EXPONENT)), p[k:]
        z = s * scale + shift
        off = _shares(z) - wanted
        loss = (np.logaddexp(0, z) - wanted * z).sum() + 0.5 * ((p - before) ** 2).sum()
        slope = np.concatenate([(off * s).sum(axis=0) * scale, off.sum(axis=0)]) + p - before
        return float(loss) / len(s), slope / len(s)

    p = minimise(objective, before)
    return Calibration(np.exp(p[:k]), p[k:])


def label_odds(truth: Array) -> Array:
    """Return the log odds ``float64 [k]`` of each label's share, one row added with it and one without."""
    seen = truth[known_rows(truth)]
    n_with = (seen > 0).sum(axis=0) + 1.0
    return np.asarray(np.log(n_with) - np.log(len(seen) + 2.0 - n_with))


@dataclass(frozen=True, slots=True)
class SigmoidSolver(EvenSolver):
    """A logistic regression for each label, every row weighing the same, calibrated label by label."""

    solve: Solve = solve_labels

    def loss(self, truth: Array, scores: Array) -> float:
        """Return the binary log loss in nats, averaged over the labels."""
        return binary_log_loss(truth, scores)

    def calibrate(self, truth: Array, scores: Array) -> Calibration:
        """Fit a temperature and a shift per label."""
        return calibrate_labels(truth, scores)

    def cross_calibrate(self, truth: Array, scores: Array, *, seed: int) -> Array:
        """Deal the rows to parts, each calibrated by the others."""
        return cross_calibrate_by(calibrate_labels, truth, scores, seed=seed)

    def blind_scores(self, goal: Goal) -> Array:
        """Return the log odds of the labels' shares."""
        return label_odds(goal.truth)
