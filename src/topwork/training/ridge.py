"""Ridge regression on frozen features: the probe of what is a number.

What is minimised, for the inverse regularisation strength C that cross-validation chooses, is

    C · Σᵢ wᵢ · ½ (zᵢ W + b − yᵢ)² + ½ ‖W‖²

over standardised features z, which is scikit-learn's ``Ridge`` with alpha = 1 / C (Hoerl and Kennard, *Ridge
Regression*, 1970). The axes, the folds in one product and the path of C are those of the logistic probe. It knows no
unit: truth comes standardised.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from topwork.contracts import Array, Fold, known_rows
from topwork.training.probe import Axes, Solution, descend, held_out, weights_of_folds

__all__ = ["cross_validate_ridge", "mean_squared_error", "solve_ridge"]


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


def cross_validate_ridge(
    axes: Axes, truth: Array, folds: Sequence[Fold], strength: float, start: Solution | None = None
) -> tuple[Array, Solution]:
    """Return held-out scores ``float64 [n, 1]`` (NaN where no fold holds a row out) and the folds' solution."""
    weights = weights_of_folds(known_rows(truth).astype(np.float32), folds)
    found = solve_ridge(axes, truth, weights, strength, start)
    return held_out(axes, folds, found, 1), found


def mean_squared_error(truth: Array, scores: Array) -> float:
    """Return the mean squared error over rows that have a truth and held-out scores; NaN without any."""
    known = known_rows(truth) & ~np.isnan(scores[:, 0])
    return float(np.mean((scores[known, 0] - truth[known]) ** 2)) if known.any() else float("nan")
