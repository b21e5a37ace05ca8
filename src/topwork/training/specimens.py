"""The few training rows that a trial of a fit is made with: what decoding takes, and batches that speak for all.

It knows no network and no modality.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch

from topwork.contracts import Array, Material, padded

__all__ = ["Specimens", "sizes_of"]

_N_TIMED = 4


@dataclass(frozen=True, slots=True)
class Specimens:
    """Training rows of a material, ``rows``, put together to small batches on ``device``."""

    material: Material
    rows: Array
    device: str = "cpu"

    def first(self, n: int) -> torch.Tensor:
        """Return the first rows."""
        return self._batch(self.rows[:n])

    def typical(self, n: int, sizes: Array | None) -> torch.Tensor:
        """Return rows that are nearest to the mean size of all, so that a step with them costs what steps do."""
        if sizes is None:
            return self.first(n)
        return self._batch(self.rows[np.argsort(np.abs(sizes - sizes.mean()), kind="stable")[:n]])

    def largest(self, sizes: Array | None) -> torch.Tensor:
        """Return the row that takes the most memory, as a batch of its own."""
        return self._batch(self.rows[:1] if sizes is None else self.rows[[int(np.argmax(sizes))]])

    def decode_s(self) -> float:
        """Return the seconds that decoding one row takes of all threads together."""
        self.material.example(int(self.rows[0]))  # what is read once for all rows is read now
        timed = self.rows[-_N_TIMED:].tolist()
        began_s = perf_counter()
        for row in timed:
            self.material.example(row)
        return (perf_counter() - began_s) / len(timed) / self.material.resources.n_threads

    def varies(self) -> bool:
        """Tell whether a row is shown a little differently each time."""
        row = int(self.rows[0])
        one, other = (self.material.variant(row, np.random.default_rng(seed)) for seed in (0, 1))
        return not np.array_equal(one, other)

    def _batch(self, rows: Array) -> torch.Tensor:
        several: Sequence[Array] = [self.material.example(int(row)) for row in rows]
        return torch.from_numpy(padded(several)).to(self.device)


def sizes_of(material: Material, rows: Array) -> Array | None:
    """Return how many places of each row hold something, ``int64 [n]``; None where all inputs are of one size.

    Every row is decoded for it, and what is decoded stays with the material as far as memory allows.
    """
    if not material.is_ragged:
        return None
    with ThreadPoolExecutor(material.resources.n_threads, "sizes") as pool:
        counted = pool.map(lambda row: int(np.count_nonzero(material.example(row))), rows.tolist())
        return np.fromiter(counted, np.int64, len(rows))
