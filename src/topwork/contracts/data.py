"""A data set as it is listed, inspected and split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from topwork.contracts.values import Array

__all__ = ["Dataset", "Fold", "Inspection", "Rejected", "Side", "Split"]


@dataclass(frozen=True, slots=True)
class Rejected:
    """One input or row that was left out, and why, in words for a person."""

    key: str
    reason: str


Side: TypeAlias = Literal["train", "valid", "test"]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled inputs that have been listed, not yet read.

    Attributes
    ----------
    modality
        Name of the modality of every input.
    keys
        ``n`` unique names, such as paths below the data set's folder.
    read
        Gives the encoded input of a row; called from several threads. Raises `DecodeError` for a row
        whose file is gone or not readable.
    targets
        Target name to ``n`` raw labels as text; None where a label is missing.
    given
        ``n`` sides that the layout itself fixed; None where it fixed none.
    columns
        Other columns of a table, ``n`` values each.
    layout
        One line: what kind of data set this was taken for.
    understood
        Further lines: which column was taken for what, and how to override it.
    rejected
        Rows that could not even be listed (no file name, no label, a path outside the folder).
    unlabelled
        Encoded texts of rows that were left out because they have no label; some recipes learn from them too.
    """

    modality: str
    keys: tuple[str, ...]
    read: Callable[[int], bytes]
    targets: Mapping[str, tuple[str | None, ...]]
    given: tuple[Side | None, ...] | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    layout: str = ""
    understood: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    unlabelled: tuple[bytes, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What reading one row showed; ``problem`` is None and ``fingerprint`` set where it could be decoded.

    ``content`` is the SHA-256 of the encoded input, 32 bytes; empty where not even that could be read.
    """

    content: bytes
    fingerprint: Array | None
    facts: Mapping[str, float]
    problem: str | None


@dataclass(frozen=True, slots=True)
class Split:
    """Which row of a data set is on which side.

    Attributes
    ----------
    train, valid, test
        Row numbers, ``int64``, ascending, disjoint. ``valid`` is empty where validation is by folds.
    units
        ``int64 [n]``: rows of one unit (near duplicates, one patient) must never be separated.
    method
        One line for a person: how it was made.
    notes
        What a reader of the result must know of it (a leak, a validation folder used as the test).
    """

    train: Array
    valid: Array
    test: Array
    units: Array
    method: str
    seed: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fold:
    """One way to hold rows out: fit on ``train``, score on ``valid`` (row numbers, ``int64``)."""

    train: Array
    valid: Array
