"""From what a reading pass saw of each row to the pairs of rows that show nearly the same."""

from __future__ import annotations

import numpy as np

from topwork.contracts import Array, Modality, row_numbers
from topwork.training.reading import Reading

__all__ = ["near_pairs"]


def near_pairs(reading: Reading, modality: Modality) -> Array:
    """Return ``int64 [p, 2]``: pairs of rows that show nearly the same; unreadable rows are in none."""
    rows = row_numbers(np.array([one.fingerprint is not None for one in reading.inspections], dtype=bool))
    if not len(rows):
        return np.zeros((0, 2), dtype=np.int64)
    every = len(rows) == len(reading.inspections)
    return rows[modality.near_duplicates(reading.fingerprints if every else reading.fingerprints[rows])]
