"""Where activations are kept: in one block where all are of a size, row by row where they are not.

It knows no network; which places of a batch hold something is told by the inputs, which are 0 where nothing is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from topwork.contracts import Array

__all__ = ["BlockShelf", "RaggedRows", "RaggedShelf", "Shelf"]


class RaggedRows:
    """Tensors of several sizes; asked for some, it gives a batch that is filled up with zeros."""

    def __init__(self, n_rows: int) -> None:
        self._rows: list[torch.Tensor] = [torch.empty(0)] * n_rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        several = [self._rows[row] for row in rows.tolist()]
        shape = np.max([one.shape for one in several], axis=0).tolist()
        batch: torch.Tensor = several[0].new_zeros(len(several), *shape)
        for place, one in zip(batch, several, strict=True):
            place[tuple(slice(n) for n in one.shape)] = one
        return batch

    def __setitem__(self, row: int, tensor: torch.Tensor) -> None:
        self._rows[row] = tensor

    @property
    def n_bytes(self) -> int:
        """Return what the rows take."""
        return sum(one.numel() * one.element_size() for one in self._rows)


class Shelf(Protocol):
    """Takes activations batch by batch."""

    def put(self, variant: int, rows: Array, inputs: torch.Tensor, activations: torch.Tensor) -> None:
        """Keep the activations ``[b, ...]`` that the inputs of some rows came to."""
        ...


class BlockShelf:
    """Activations of one size, ``[v, n, ...]``; the block is made when the first of them shows how large one is."""

    def __init__(self, n_variants: int, n_rows: int) -> None:
        self._shape = n_variants, n_rows
        self._block: torch.Tensor | None = None

    def put(self, variant: int, rows: Array, inputs: torch.Tensor, activations: torch.Tensor) -> None:
        """Copy them to their places."""
        del inputs
        if self._block is None:
            self._block = activations.new_empty((*self._shape, *activations.shape[1:]))
        self._block[variant, torch.from_numpy(rows)] = activations

    @property
    def kept(self) -> torch.Tensor:
        """Return everything; a block of nothing where nothing was put."""
        return torch.empty(self._shape) if self._block is None else self._block


class RaggedShelf:
    """Activations of several sizes, each without what its batch filled it up with."""

    def __init__(self, n_variants: int, n_rows: int) -> None:
        self.kept: Sequence[RaggedRows] = [RaggedRows(n_rows) for _ in range(n_variants)]

    def put(self, variant: int, rows: Array, inputs: torch.Tensor, activations: torch.Tensor) -> None:
        """Copy each to a tensor of its own; its leading axes are those of its input."""
        for row, extent, activation in zip(rows.tolist(), _extents(inputs), activations, strict=True):
            self.kept[variant][row] = activation[tuple(slice(n) for n in extent)].clone()


def _extents(inputs: torch.Tensor) -> list[list[int]]:
    """Return along each axis of every input where its last value stands that is not 0."""
    here = (inputs != 0).cpu().numpy()
    axes = range(1, here.ndim)
    ends = []
    for axis in axes:
        there = here.any(axis=tuple(other for other in axes if other != axis))
        ends.append((there * np.arange(1, there.shape[1] + 1)).max(axis=1))
    extents: list[list[int]] = np.stack(ends, axis=1).tolist()
    return extents
