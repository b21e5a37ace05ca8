"""Where batches come from: pictures that are decoded as they are needed, or activations that were kept.

Decoding runs ahead of training in threads of its own, never more than a few batches. What a variant looks like is
drawn from (seed, epoch, row) alone, so it does not matter which thread gets there first. Pictures are decoded on the
processor and handed on where the network computes. It knows no modality.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from topwork.contracts import Array, Material, padded

__all__ = ["CutFeed", "RawFeed", "fill"]

_AHEAD = 3
_LOOK_BATCH = 32
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class RawFeed:
    """Inputs as they are decoded; ``train`` and ``valid`` are rows of ``material``, ``device`` takes the batches."""

    material: Material
    train: Array
    valid: Array
    seed: int
    n_threads: int
    device: str = "cpu"

    @property
    def n_train(self) -> int:
        """Return the number of training rows."""
        return len(self.train)

    def batches(self, order: Iterator[tuple[int, Array]]) -> Iterator[tuple[Array, torch.Tensor]]:
        """Yield a fresh variant of every row."""

        def make(item: tuple[int, Array]) -> tuple[Array, torch.Tensor]:
            epoch, rows = item
            return rows, torch.from_numpy(padded(self.variant(epoch, int(row)) for row in rows))

        yield from self._sent(_ahead(make, order, self.n_threads))

    def variant(self, epoch: int, row: int) -> Array:
        """Return the variant of a training row that belongs to an epoch."""
        return self.material.variant(int(self.train[row]), np.random.default_rng([self.seed, epoch, row]))

    def validation(self, rows: Array | None = None) -> Iterator[tuple[Array, torch.Tensor]]:
        """Yield validation rows as they are: all of them, or these."""

        def make(rows: Array) -> tuple[Array, torch.Tensor]:
            return rows, torch.from_numpy(padded(self.material.example(int(self.valid[row])) for row in rows))

        chunks = _chunks(np.arange(len(self.valid)) if rows is None else rows)
        yield from self._sent(_ahead(make, chunks, self.n_threads))

    def _sent(self, batches: Iterator[tuple[Array, torch.Tensor]]) -> Iterator[tuple[Array, torch.Tensor]]:
        for rows, tensors in batches:
            yield rows, tensors.to(self.device)


@dataclass(frozen=True, slots=True, eq=False)
class CutFeed:
    """Activations at a cut: ``train [v, n, ...]`` of the variants of each row, ``valid [n, ...]``."""

    train: torch.Tensor
    valid: torch.Tensor

    @property
    def n_train(self) -> int:
        """Return the number of training rows."""
        return int(self.train.shape[1])

    def batches(self, order: Iterator[tuple[int, Array]]) -> Iterator[tuple[Array, torch.Tensor]]:
        """Yield the kept variant whose turn it is."""
        for epoch, rows in order:
            yield rows, self.train[epoch % len(self.train)][torch.from_numpy(rows)]

    def validation(self, rows: Array | None = None) -> Iterator[tuple[Array, torch.Tensor]]:
        """Yield validation rows: all of them in their order, or these."""
        for some in _chunks(np.arange(len(self.valid)) if rows is None else rows):
            yield some, self.valid[torch.from_numpy(some)]


def fill(
    feed: RawFeed,
    below: Callable[[torch.Tensor], torch.Tensor],
    n_variants: int,
    advance: Callable[[int], None],
    should_stop: Callable[[], bool],
) -> CutFeed | None:
    """Compute the activations at a cut once, for ``n_variants`` of every training row; None where told to stop."""
    train: torch.Tensor | None = None
    with torch.no_grad():
        for epoch in range(n_variants):
            order = ((epoch, rows) for rows in _chunks(np.arange(feed.n_train)))
            for rows, tensors in feed.batches(order):
                if should_stop():
                    return None
                train = _put(train, (n_variants, feed.n_train), (epoch, rows), below(tensors))
                advance(len(rows))
        valid: torch.Tensor | None = None
        for rows, tensors in feed.validation():
            if should_stop():
                return None
            valid = _put(valid, (len(feed.valid),), (rows,), below(tensors))
    assert train is not None
    assert valid is not None
    return CutFeed(train, valid)


def _put(
    whole: torch.Tensor | None, sizes: tuple[int, ...], place: tuple[int | Array, ...], part: torch.Tensor
) -> torch.Tensor:
    """Write a part into the whole, which is made when its first part shows how large one activation is."""
    if whole is None:
        whole = part.new_empty((*sizes, *part.shape[1:]))
    whole[tuple(torch.from_numpy(one) if isinstance(one, np.ndarray) else one for one in place)] = part
    return whole


def _chunks(rows: Array) -> Iterator[Array]:
    for start in range(0, len(rows), _LOOK_BATCH):
        yield rows[start : start + _LOOK_BATCH]


def _ahead(
    make: Callable[[T], tuple[Array, torch.Tensor]], items: Iterator[T], n_threads: int
) -> Iterator[tuple[Array, torch.Tensor]]:
    """Make batches in threads, a few ahead of whoever takes them."""
    with ThreadPoolExecutor(n_threads, "feed") as pool:
        pending: deque[Future[tuple[Array, torch.Tensor]]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(make, item))
                if len(pending) > _AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
