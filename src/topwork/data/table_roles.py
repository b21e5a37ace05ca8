"""What columns of a table mean, whatever the inputs are: which ones hold labels, and which one sides.

Options decide where they are given; otherwise names and content do. It knows no file and no text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from topwork.contracts import Side
from topwork.data.folders import side_of
from topwork.data.tables import Table
from topwork.errors import DataError

__all__ = [
    "Roles",
    "is_named_label",
    "label_of",
    "labelled",
    "require_columns",
    "sides_of",
    "split_column",
    "target_column",
    "understood_roles",
]

_LABEL_NAMES = (
    "label",
    "labels",
    "class",
    "target",
    "category",
    "class_name",
    "label_name",
    "classname",
    "y",
    "sentiment",
    "intent",
    "topic",
)
_SPLIT_NAMES = ("split", "set", "subset", "partition", "phase", "side")
_MISSING = frozenset({"", "nan"})


@dataclass(frozen=True, slots=True)
class Roles:
    """Which columns a caller has assigned; None or empty where the content decides."""

    input: str | None = None
    target: tuple[str, ...] = ()
    group: str | None = None
    time: str | None = None


def split_column(table: Table, taken: Collection[str | None]) -> str | None:
    """Return the column that says which rows are for training, validation and test; None where there is none."""
    for column in table.columns:
        if column not in taken and column.lower() in _SPLIT_NAMES:
            values = {value for value in table.column(column) if value}
            if values and all(side_of(value) for value in values):
                return column
    return None


def target_column(table: Table, taken: Collection[str | None], name: str) -> str:
    """Return the column that holds the labels, by its name or as the only one that looks like labels.

    Raises
    ------
    DataError
        It is not clear which one is meant.
    """
    free = [column for column in table.columns if column not in taken]
    named = sorted((_LABEL_NAMES.index(c.lower()), c) for c in free if c.lower() in _LABEL_NAMES)
    if named:
        return named[0][1]
    likely = free if len(free) == 1 else [c for c in free if _is_like_labels(table.column(c))]
    if len(likely) == 1:
        return likely[0]
    why = f"{', '.join(likely)} could all hold the labels" if likely else "none is recognised as labels"
    raise DataError(
        f"It is not clear which column of {name} holds the labels: {why}. Its columns are: {', '.join(table.columns)}.",
        next_step="Say which one with `--target COLUMN`.",
    )


def _is_like_labels(values: Sequence[str]) -> bool:
    n_different = len(set(values) - {""})
    return 2 <= n_different <= max(2, len(values) // 2)


def require_columns(table: Table, roles: Roles) -> None:
    """Refuse a column that was asked for and is not there.

    Raises
    ------
    DataError
        A column is missing.
    """
    for column in (roles.input, *roles.target, roles.group, roles.time):
        _require_column(table, column)


def _require_column(table: Table, column: str | None) -> None:
    if column is not None and column not in table.columns:
        raise DataError(
            f"There is no column {column!r}; the table has: {', '.join(table.columns)}.",
            next_step="Give one of these names, spelt the same.",
        )


def labelled(table: Table, targets: Sequence[str]) -> list[bool]:
    """Return for each row whether it has a label of any target."""
    columns = [table.column(target) for target in targets]
    return [any(label_of(value) is not None for value in row) for row in zip(*columns, strict=True)]


def label_of(value: str) -> str | None:
    """Return a cell as a label; None where it is missing."""
    return None if value.lower() in _MISSING else unicodedata.normalize("NFC", value)


def sides_of(table: Table, column: str | None) -> tuple[Side | None, ...] | None:
    """Return the side of each row; None where no column says it."""
    return tuple(side_of(value) for value in table.column(column)) if column else None


def is_named_label(column: str) -> bool:
    """Return whether a column has a name that columns of labels or of sides have."""
    return column.lower() in (*_LABEL_NAMES, *_SPLIT_NAMES)


def understood_roles(targets: tuple[str, ...], sides: str | None, *, is_guess: bool) -> Iterator[str]:
    """Say which columns were taken for labels and sides."""
    names = ", ".join(repr(target) for target in targets)
    yield f"Labels: column {names}{'; `--target COLUMN` overrides.' if is_guess else ', as asked.'}"
    if sides:
        yield f"Column {sides!r} says which rows are for training, validation and test."
