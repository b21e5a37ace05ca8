"""Where batches come from: inputs that are decoded as they are needed, or activations that were kept.

Decoding runs ahead of training in threads of its own, never more than a few batches. What a variant looks like is
drawn from (seed, epoch, row) alone, so it does not matter which thread gets there first. Inputs are decoded on the
processor and handed on where the network computes. It knows no modality.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from topwork.contracts import Array, Fold, Material, padded
from topwork.training.shelves import BlockShelf, RaggedRows, RaggedShelf
from topwork.training.specimens import sizes_of

__all__ = ["CutFeed", "RawFeed", "Sizes", "feed_of", "fill"]

_AHEAD = 3
_LOOK_BATCH = 32
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Sizes:
    """How large each training row and each validation row is, where inputs come in several sizes."""

    train: Array
    valid: Array


@dataclass(frozen=True, slots=True, eq=False)
class RawFeed:
    """Inputs as they are decoded; ``train`` and ``valid`` are rows of ``material``, ``device`` takes the batches.

    Where inputs come in several sizes, ``sizes`` tells them.
    """

    material: Material
    train: Array
    valid: Array
    seed: int
    n_threads: int
    device: str = "cpu"
    sizes: Sizes | None = None

    @property
    def n_train(self) -> int:
        """Return the number of training rows."""
        return len(self.train)

    @property
    def train_sizes(self) -> Array | None:
        """Return how large each training row is, where they differ."""
        return None if self.sizes is None else self.sizes.train

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
        """Yield validation rows as they are, all of them or these; those of like size together."""

        def make(rows: Array) -> tuple[Array, torch.Tensor]:
            return rows, torch.from_numpy(padded(self.material.example(int(self.valid[row])) for row in rows))

        every = np.arange(len(self.valid)) if rows is None else rows
        chunks = _chunks(every, None if self.sizes is None else self.sizes.valid)
        yield from self._sent(_ahead(make, chunks, self.n_threads))

    def _sent(self, batches: Iterator[tuple[Array, torch.Tensor]]) -> Iterator[tuple[Array, torch.Tensor]]:
        for rows, tensors in batches:
            yield rows, tensors.to(self.device)


def feed_of(material: Material, fold: Fold, seed: int) -> RawFeed:
    """Return the feed of a fold; where inputs come in several sizes, each is decoded once to know its own."""
    train, valid = (sizes_of(material, rows) for rows in (fold.train, fold.valid))
    sizes = None if train is None or valid is None else Sizes(train, valid)
    resources = material.resources
    return RawFeed(material, fold.train, fold.valid, seed, resources.n_threads, resources.device, sizes)


@dataclass(frozen=True, slots=True, eq=False)
class CutFeed:
    """Activations at a cut: ``train [v, n, ...]`` of the variants of each row, ``valid [n, ...]``.

    Where inputs come in several sizes, there are `RaggedRows` for each variant and for validation.
    """

    train: torch.Tensor | Sequence[RaggedRows]
    valid: torch.Tensor | RaggedRows
    sizes: Sizes | None = None

    @property
    def n_train(self) -> int:
        """Return the number of training rows."""
        return len(self.train[0])

    @property
    def train_sizes(self) -> Array | None:
        """Return how large each training row is, where they differ."""
        return None if self.sizes is None else self.sizes.train

    def batches(self, order: Iterator[tuple[int, Array]]) -> Iterator[tuple[Array, torch.Tensor]]:
        """Yield the kept variant whose turn it is."""
        for epoch, rows in order:
            yield rows, self.train[epoch % len(self.train)][torch.from_numpy(rows)]

    def validation(self, rows: Array | None = None) -> Iterator[tuple[Array, torch.Tensor]]:
        """Yield validation rows, all of them or these; those of like size together."""
        every = np.arange(len(self.valid)) if rows is None else rows
        for some in _chunks(every, None if self.sizes is None else self.sizes.valid):
            yield some, self.valid[torch.from_numpy(some)]


def fill(
    feed: RawFeed,
    below: Callable[[torch.Tensor], torch.Tensor],
    n_variants: int,
    advance: Callable[[int], None],
    should_stop: Callable[[], bool],
) -> CutFeed | None:
    """Compute the activations at a cut once, for ``n_variants`` of every training row; None where told to stop."""
    shelf = BlockShelf if feed.sizes is None else RaggedShelf
    train, valid = shelf(n_variants, feed.n_train), shelf(1, len(feed.valid))
    with torch.no_grad():
        for epoch in range(n_variants):
            order = ((epoch, rows) for rows in _chunks(np.arange(feed.n_train), feed.train_sizes))
            for rows, tensors in feed.batches(order):
                if should_stop():
                    return None
                train.put(epoch, rows, tensors, below(tensors))
                advance(len(rows))
        for rows, tensors in feed.validation():
            if should_stop():
                return None
            valid.put(0, rows, tensors, below(tensors))
    return CutFeed(train.kept, valid.kept[0], feed.sizes)


def _chunks(rows: Array, sizes: Array | None = None) -> Iterator[Array]:
    """Cut rows into small batches, rows of like size together."""
    if sizes is not None:
        rows = rows[np.argsort(sizes[rows], kind="stable")]
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
