"""How far two rankings of the same few things agree, -1 to 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from topwork.contracts import Array

__all__ = ["kendall", "spearman"]


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the correlation of the ranks, equal values sharing theirs; 0 where one side ranks nothing."""
    return _correlation(_ranks(a), _ranks(b))


def kendall(a: Sequence[float], b: Sequence[float]) -> float:
    """Return Kendall's tau-b, over pairs that agree and disagree; 0 where one side ranks nothing."""
    signs = [np.sign(np.subtract.outer(one, one)).ravel() for one in (np.asarray(a), np.asarray(b))]
    scale = float(np.sqrt((signs[0] ** 2).sum() * (signs[1] ** 2).sum()))
    return float((signs[0] * signs[1]).sum()) / scale if scale else 0.0


def _ranks(values: Sequence[float]) -> Array:
    """Return how many are smaller, and half of those that are equal."""
    x = np.asarray(values, dtype=np.float64)
    return np.asarray((x[:, None] > x).sum(axis=1) + 0.5 * (x[:, None] == x).sum(axis=1))


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale else 0.0
