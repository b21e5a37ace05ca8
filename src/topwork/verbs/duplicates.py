"""From what inspection saw of each row to the pairs of rows that show nearly the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from topwork.contracts import Array, Inspection, Modality

__all__ = ["near_pairs"]


def near_pairs(inspections: Sequence[Inspection], modality: Modality) -> Array:
    """Return ``int64 [p, 2]``: pairs of rows that show nearly the same; unreadable rows are in none."""
    seen = [(row, one.fingerprint) for row, one in enumerate(inspections) if one.fingerprint is not None]
    if not seen:
        return np.zeros((0, 2), dtype=np.int64)
    rows = np.array([row for row, _ in seen], dtype=np.int64)
    return rows[modality.near_duplicates(np.stack([fingerprint for _, fingerprint in seen]))]
