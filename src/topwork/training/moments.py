"""Means and standard deviations of the columns of a tall matrix, without a copy of it.

NumPy's own ``std`` makes a copy of the whole matrix in double precision, which for the features of many inputs
would be the largest thing in memory. It knows nothing of what the columns are.
"""

from __future__ import annotations

import numpy as np

from topwork.contracts import Array

__all__ = ["CHUNK_ROWS", "moments"]

CHUNK_ROWS = 4096
"""Rows that are worked on at a time; bounds memory at any number of rows."""


def moments(features: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of each column of ``float32 [n, d]``, both ``float32 [d]``."""
    chunks = [features[start : start + CHUNK_ROWS] for start in range(0, len(features), CHUNK_ROWS)]
    mean = np.sum([chunk.sum(axis=0, dtype=np.float64) for chunk in chunks], axis=0) / len(features)
    squares = np.sum([((chunk - mean) ** 2).sum(axis=0) for chunk in chunks], axis=0)
    return mean.astype(np.float32), np.sqrt(squares / len(features)).astype(np.float32)
