"""How well features suit labels, told from both alone, without fitting a model: LogME and the H-score.

Two numbers by which pretrained networks are ranked; of each, more is better, and only numbers on the same rows can be
compared. Both need the spectrum of the features once and then next to nothing. It knows no network and no label name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from topwork.contracts import Array, Goal, Link, has_one_label, known_rows
from topwork.evaluation.ordinal import exceeded

__all__ = ["evidence", "h_score", "h_score_of", "log_me", "log_me_of"]

_REACH = 1e8
"""How far the ratio of the precisions may go from the mean of the spectrum: beyond, features say all or nothing."""
_N_RATIOS = 401
_RANK = 1e-10
"""Part of the largest eigenvalue below which one is taken for rounding."""
_CONSTANT = 1e-6
"""Features whose spread is a smaller part of them than this do not vary: they come in single precision."""
_LEAST = 1e-100
"""Stands in for 0 where something is divided by it."""


def log_me_of(features: Array, goals: Mapping[str, Goal]) -> float:
    """Return `log_me`, averaged over the goals whose link it is defined for; NaN where there is none.

    Classes are regressed one by one as 0 and 1, labels and the thresholds between ordered classes likewise, numbers
    as they are.
    """
    found = [_log_me_of_goal(features, goal) for goal in goals.values() if goal.link in _COLUMNS]
    known = [one for one in found if one == one]
    return float(np.mean(known)) if known else float("nan")


def h_score_of(features: Array, goals: Mapping[str, Goal]) -> float:
    """Return `h_score`, averaged over the goals that have one class per row; NaN where there is none."""
    found = [h_score(features, goal.truth) for goal in goals.values() if has_one_label(goal.link)]
    known = [one for one in found if one == one]
    return float(np.mean(known)) if known else float("nan")


def log_me(features: Array, columns: Array) -> float:
    """Return the logarithm of the maximum evidence per row, averaged over what is regressed.

    Of a Bayesian linear regression on the features, whose precisions of weights and noise make the data likeliest: You
    et al., *LogME*, 2021 (arXiv 2102.11005). Their fixed point (arXiv 2110.10545) may stop at a lower one of several
    maxima, at no noise at all, where features outnumber rows. Here the likeliest noise for a ratio of the two is known,
    and the ratio is searched for. It does not change when features are scaled or turned; it does when they are moved,
    as the regression has no constant.

    Parameters
    ----------
    features
        ``float [n, d]``.
    columns
        ``float [n, k]``: k things to regress, no NaN; those that do not vary are left out.

    Returns
    -------
    float
        In nats; NaN where nothing varies.
    """
    columns = np.asarray(columns, np.float64)
    columns = columns[:, columns.std(axis=0) > 0] if len(columns) else columns[:, :0]
    if not columns.shape[1]:
        return float("nan")
    squares, left = _spectrum(np.asarray(features, np.float64))
    along, whole = (left.T @ columns) ** 2, (columns**2).sum(axis=0)
    rest = np.where((beside := whole - along.sum(axis=0)) > _RANK * whole, beside, 0.0)
    ratios = (squares.mean() if len(squares) else 1.0) * np.geomspace(1 / _REACH, _REACH, _N_RATIOS)
    return float(_top(evidence(squares, along, rest=rest, ratios=ratios, n=len(columns))).mean())


def evidence(squares: Array, along: Array, *, rest: Array, ratios: Array, n: int) -> Array:
    """Return the logarithm of the evidence per row at the likeliest noise, ``float64 [g, k]``, of k regressions.

    Parameters
    ----------
    squares
        ``[r]``: squared singular values of the features, above 0.
    along
        ``[r, k]``: squared coordinates of what is regressed along the left singular vectors.
    rest
        ``[k]``: squared length of what lies beside them.
    ratios
        ``[g]``: precision of the weights' prior over that of the noise.
    n
        Rows.
    """
    shares = ratios[:, None] / (
        ratios[:, None] + squares
    )  # what the prior keeps the fit from, in each direction
    noise = (shares @ along + rest) / n  # its likeliest variance
    return np.asarray(0.5 * (np.log(shares).sum(axis=1)[:, None] / n - np.log(2 * np.pi * noise) - 1))


def h_score(features: Array, classes: Array, *, shrinkage: float | None = None) -> float:
    """Return how much of the features' spread, in every direction measured by itself, lies between the classes.

    That is the trace of the inverse covariance times the covariance of the classes' means (Bao et al., *An
    Information-Theoretic Approach to Transferability*, 2019). With fewer rows than features the covariance has no
    inverse and the score says nothing, so it is shrunk towards a multiple of the identity (Ibrahim et al., *Newer is
    not always better*, 2021, arXiv 2110.06893).

    Parameters
    ----------
    features
        ``float [n, d]``.
    classes
        ``int [n]``; rows below 0 are left out.
    shrinkage
        0 to 1, 0 for none; by default what Ledoit and Wolf, *A well-conditioned estimator for large-dimensional
        covariance matrices*, 2004, estimate.

    Returns
    -------
    float
        From 0 to the number of classes less one; NaN with fewer than two classes.
    """
    x, y = np.asarray(features, np.float64)[classes >= 0], classes[classes >= 0]
    if len(np.unique(y)) < 2:
        return float("nan")
    energy = float((x**2).sum())
    x = x - x.mean(axis=0)
    squares, left = _spectrum(x, _CONSTANT**2 * energy)
    variances = squares / len(x)
    shrink = _ledoit_wolf(x, variances) if shrinkage is None else shrinkage
    means = np.stack([left[y == c].mean(axis=0) * np.sqrt((y == c).sum()) for c in np.unique(y)])
    between = (means**2).sum(
        axis=0
    )  # 0 to 1: the share of each direction's spread that lies between the classes
    kept = (1 - shrink) * variances
    return float((between * kept / (kept + shrink * variances.sum() / x.shape[1])).sum())


# --- LogME ------------------------------------------------------------------------------------------------


def _one_hot(goal: Goal, truth: Array) -> Array:
    return np.asarray(truth[:, None] == np.arange(goal.n_outputs))


def _as_it_is(goal: Goal, truth: Array) -> Array:
    return truth.reshape(len(truth), goal.n_outputs)


def _thresholds(goal: Goal, truth: Array) -> Array:
    return exceeded(truth, goal.n_outputs)


_COLUMNS: Final[Mapping[Link, Callable[[Goal, Array], Array]]] = MappingProxyType(
    {"softmax": _one_hot, "identity": _as_it_is, "sigmoid": _as_it_is, "cumulative": _thresholds}
)
"""What is regressed, by link. A link that is not here has no LogME."""


def _log_me_of_goal(features: Array, goal: Goal) -> float:
    known = known_rows(goal.truth)
    return log_me(features[known], _COLUMNS[goal.link](goal, goal.truth[known]))


def _top(values: Array) -> Array:
    """Return the highest of each column ``[g, k]``, between its neighbours by the parabola through the three."""
    column = np.arange(values.shape[1])
    place = np.clip(values.argmax(axis=0), 1, len(values) - 2)
    before, here, after = (values[place + step, column] for step in (-1, 0, 1))
    bend = before - 2 * here + after
    risen = here - (after - before) ** 2 / (8 * np.where(bend < 0, bend, -np.inf))
    return np.asarray(np.maximum(values.max(axis=0), risen))


# --- spectra ----------------------------------------------------------------------------------------------


def _spectrum(x: Array, least: float = 0.0) -> tuple[Array, Array]:
    """Return the squared singular values ``[r]`` above rounding of ``x [n, d]``, and the left vectors ``[n, r]``."""
    n, d = x.shape
    values, vectors = np.linalg.eigh(x @ x.T if n <= d else x.T @ x)
    keep = values > max(_RANK * float(values[-1]), least, _LEAST)
    values, vectors = values[keep], vectors[:, keep]
    return values, vectors if n <= d else (x @ vectors) / np.sqrt(values)


def _ledoit_wolf(x: Array, variances: Array) -> float:
    """Return the shrinkage of the covariance of centred rows ``x [n, d]`` whose eigenvalues above 0 are given."""
    n, d = x.shape
    total = float((variances**2).sum())
    distance = total - float(variances.sum()) ** 2 / d
    noise = (float(((x**2).sum(axis=1) ** 2).sum()) / n - total) / n
    return min(1.0, max(0.0, noise / distance)) if distance > 0 else 1.0
