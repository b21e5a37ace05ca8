"""Units: rows that belong together, as connected components of pairs. Plain arithmetic on row numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from topwork.contracts import Array

__all__ = ["components", "group_pairs", "members"]


def components(n: int, pairs: Array) -> Array:
    """Return the connected component of each of ``n`` rows, numbered in the order of their first rows.

    Parameters
    ----------
    pairs
        ``int64 [p, 2]``, rows that belong together.

    Returns
    -------
    ``int64 [n]``, counted from 0.
    """
    parent = list(range(n))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    for one, other in pairs.tolist():
        first, second = sorted((root(one), root(other)))
        parent[second] = first  # the smallest row stays the root, so roots ascend with components
    roots = np.array([root(row) for row in range(n)], dtype=np.int64)
    return np.unique(roots, return_inverse=True)[1].astype(np.int64).reshape(-1)


def group_pairs(values: Iterable[object]) -> Array:
    """Return ``int64 [p, 2]``: each row with the first row of the same value; falsy values belong to nobody."""
    first: dict[object, int] = {}
    pairs = [(first.setdefault(value, row), row) for row, value in enumerate(values) if value]
    return np.array([p for p in pairs if p[0] != p[1]], dtype=np.int64).reshape(-1, 2)


def members(labels: Array, rows: Array) -> Sequence[Array]:
    """Return the rows of each component that has any of ``rows``, every part ascending."""
    order = rows[np.argsort(labels[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(labels[order])) + 1
    return np.split(order, starts) if len(order) else []
