"""Texts of tokens as rows of one length: cut where they are longer, put together where they are shorter.

Neither training nor a look at what texts cost wastes anything on padding, and no text sees another one. It knows no
letters and no network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from topwork.contracts import Array

if TYPE_CHECKING:
    import torch

__all__ = ["NOTHING", "Packed", "PackedFeed", "Tokenised", "cut", "pack"]

NOTHING = -100
"""What stands where no token is to be said."""


@dataclass(frozen=True, slots=True, eq=False)
class Tokenised:
    """A text, or a part of a longer one.

    Attributes
    ----------
    tokens
        ``int64 [t]``.
    is_learned
        ``bool [t]``: which of them the model is to say.
    document
        Number of the text that it is of.
    """

    tokens: Array
    is_learned: Array
    document: int


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Rows of one length.

    Attributes
    ----------
    tensors
        ``int64 [n, 3, t]``: tokens, their positions, and which token is to be said next, `NOTHING` where none is.
    pieces
        ``int64 [n, t]``: number of the piece that each token is of; -1 in what is left over.
    documents
        ``int64 [k]``: of each piece, the text that it is of.
    """

    tensors: Array
    pieces: Array
    documents: Array

    def __len__(self) -> int:
        return len(self.tensors)

    @property
    def n_said(self) -> int:
        """Return how many tokens are to be said in all."""
        return int((self.tensors[:, 2] != NOTHING).sum())


def cut(texts: Sequence[Tokenised], length: int) -> list[Tokenised]:
    """Cut texts into pieces of at most so many tokens; each begins with the last token of the one before."""
    found = []
    for text in texts:
        for begin in range(0, max(1, len(text.tokens) - 1), length - 1):
            piece = slice(begin, begin + length)
            found.append(Tokenised(text.tokens[piece], text.is_learned[piece], text.document))
    return [piece for piece in found if len(piece.tokens) > 1 and piece.is_learned[1:].any()]


def pack(pieces: Sequence[Tokenised], length: int) -> Packed:
    """Put pieces into rows, the longest first, each into the row that it fills best."""
    rows = _rows(pieces, length)
    tensors = np.zeros((len(rows), 3, length), np.int64)
    tensors[:, 2] = NOTHING
    where = np.full((len(rows), length), -1, np.int64)
    for row, numbers in enumerate(rows):
        begin = 0
        for number in numbers:
            begin += _put(tensors[row], where[row], begin, pieces[number], number)
        tensors[row, 1, begin:] = np.arange(length - begin)
    return Packed(tensors, where, np.array([piece.document for piece in pieces], np.int64))


def _rows(pieces: Sequence[Tokenised], length: int) -> list[list[int]]:
    """Return the numbers of the pieces in each row."""
    rows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(length + 1)]  # rows, by how many tokens more they take
    for number in sorted(range(len(pieces)), key=lambda one: -len(pieces[one].tokens)):
        n = len(pieces[number].tokens)
        left = next((left for left in range(n, length + 1) if with_room[left]), length)
        if not with_room[left]:
            with_room[left].append(len(rows))
            rows.append([])
        row = with_room[left].pop()
        rows[row].append(number)
        with_room[left - n].append(row)
    return rows


def _put(row: Array, where: Array, begin: int, piece: Tokenised, number: int) -> int:
    n = len(piece.tokens)
    own = slice(begin, begin + n)
    row[0, own], row[1, own], where[own] = piece.tokens, np.arange(n), number
    row[2, begin : begin + n - 1] = np.where(piece.is_learned[1:], piece.tokens[1:], NOTHING)
    return n


@dataclass(frozen=True, slots=True, eq=False)
class PackedFeed:
    """Rows for `topwork.training.loop.train`, on a device; those of validation are looked at a few at a time."""

    train: Packed
    valid: Packed
    n_at_once: int = 4
    device: str = "cpu"

    @property
    def n_train(self) -> int:
        """Return the number of training rows."""
        return len(self.train)

    @property
    def train_sizes(self) -> None:
        """Return None: all rows are of one length."""
        return

    def batches(self, order: Iterator[tuple[int, Array]]) -> Iterator[tuple[Array, torch.Tensor]]:
        """Yield the rows that are asked for."""
        import torch

        for _, rows in order:
            yield rows, torch.from_numpy(self.train.tensors[rows]).to(self.device)

    def validation(self, rows: Array | None = None) -> Iterator[tuple[Array, torch.Tensor]]:
        """Yield validation rows, all of them or these."""
        import torch

        every = np.arange(len(self.valid)) if rows is None else rows
        for begin in range(0, len(every), self.n_at_once):
            some = every[begin : begin + self.n_at_once]
            yield some, torch.from_numpy(self.valid.tensors[some]).to(self.device)
