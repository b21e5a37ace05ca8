"""Tables of texts: which column holds them, and what the rows are called.

Options decide where they are given; otherwise names and content do. It knows no file format of a table (see `tables`)
and no file that a table may name (see `table_layout`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from topwork.contracts import Dataset, Rejected
from topwork.data.table_layout import FILE_NAMES
from topwork.data.table_roles import (
    Roles,
    is_named_label,
    label_of,
    labelled,
    require_columns,
    sides_of,
    split_column,
    target_column,
    understood_roles,
)
from topwork.data.tables import Table
from topwork.errors import DataError
from topwork.inputs import TEXT, modalities
from topwork.inputs.text_opening import words_of

__all__ = ["Finding", "find_texts", "text_dataset"]

_TEXT_NAMES = (
    "text", "texts", "review", "review_text", "reviewtext", "sentence", "content", "comment", "comment_text",
    "message", "body", "tweet", "utterance", "document", "article", "post", "transcript", "description",
    "question", "query", "prompt", "input", "abstract", "summary", "headline", "title", "subject",
)  # fmt: skip
_KEY_NAMES = ("id", "key", "uuid", "guid")
_DOUBTFUL_NAMES = frozenset(FILE_NAMES) - {"name", "id"}
_N_SAMPLED = 500
_MOST_LOOKED_AT = 2000  # characters of one value that are looked at
_LEAST_WORDS = 3.0  # on average, of a column that only its content speaks for
_MOST_DIGITS = 15  # a spreadsheet keeps no more of a number


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether a table holds texts.

    Attributes
    ----------
    column
        The column of the texts; None where none is recognised.
    is_certain
        Whether that stands without a look at which files there are.
    """

    column: str | None
    is_certain: bool = True


def find_texts(table: Table, roles: Roles) -> Finding:
    """Find the column of texts: the one that was asked for, one with a telling name, or the one of longest texts.

    A column of values that end in suffixes of pictures or texts names files, so there is none, unless another one
    was asked for.
    """
    if roles.input is not None:
        return _asked_for(table, roles.input)
    free = [c for c in table.columns if c not in (*roles.target, roles.group, roles.time)]
    if any(_are_files(table.column(column)) for column in free):
        return Finding(None)
    is_doubtful = any(column.lower() in _DOUBTFUL_NAMES for column in free)
    named = [(_TEXT_NAMES.index(c.lower()), c) for c in free if c.lower() in _TEXT_NAMES]
    filled = [column for _, column in sorted(named) if _is_filled(table.column(column))]
    if filled:
        return Finding(filled[0], is_certain=not is_doubtful)
    return Finding(None if is_doubtful else _longest(table, free))


def text_dataset(table: Table, name: str, roles: Roles, column: str | None = None) -> Dataset:
    """Turn a table whose cells are the texts into a data set.

    Rows are called by a column of names (``id``, ``key``, ...) if each has one of its own, and else by their place:
    ``line 12`` of a file, ``row 12`` of what has no lines.

    Raises
    ------
    DataError
        A column is missing, it is not clear which one is meant, or no row has a text and a label.
    """
    require_columns(table, roles)
    table, notes = _with_header(table, roles)
    column = column if column in table.columns else find_texts(table, roles).column
    if column is None:
        raise DataError(
            f"No column holds texts in {name}; there are: {', '.join(table.columns)}.",
            next_step="Say which one does with `--input COLUMN`.",
        )
    sides = split_column(table, {column, *roles.target})
    targets = roles.target or (target_column(table, {column, sides, roles.group, roles.time}, name),)
    keys, told = _keys(table, {column, *targets})
    rows, rejected = _usable(table, column, targets, keys)
    if not rows:
        raise DataError(
            f"No row of {name} can be used; of the first: {rejected[0].reason}.",
            next_step="`--input` and `--target` name the columns of the texts and of the labels.",
        )
    said = (f"Column {column!r} holds the texts; `--input COLUMN` overrides.", *told)
    understood = (
        *table.notes,
        *notes,
        *said,
        *understood_roles(targets, sides, is_guess=not roles.target),
    )
    layout = f"Texts in {name}: {len(rows):,} of {len(table.rows):,} rows can be used."
    kept = replace(table, rows=tuple(table.rows[row] for row in rows), numbers=())
    dataset = _dataset(kept, column, targets, tuple(keys[row] for row in rows))
    return replace(
        dataset,
        given=sides_of(kept, sides),
        layout=layout,
        understood=understood,
        rejected=(*table.rejected, *rejected),
        unlabelled=_unlabelled(table, column, targets, sides),
    )


@dataclass(frozen=True, slots=True)
class _TextReader:
    texts: tuple[str, ...]

    def __call__(self, row: int) -> bytes:
        return TEXT.encode(self.texts[row])


def _dataset(kept: Table, column: str, targets: tuple[str, ...], keys: tuple[str, ...]) -> Dataset:
    others = [other for other in kept.columns if other not in (column, *targets)]
    return Dataset(
        modality=TEXT.name,
        keys=keys,
        read=_TextReader(kept.column(column)),
        targets={target: tuple(label_of(value) for value in kept.column(target)) for target in targets},
        columns={other: kept.column(other) for other in others},
    )


def _usable(
    table: Table, column: str, targets: tuple[str, ...], keys: Sequence[str]
) -> tuple[list[int], list[Rejected]]:
    """Return the rows that have a text and a label, and the others with the reason."""
    rows: list[int] = []
    rejected: list[Rejected] = []
    labels = labelled(table, targets)
    for row, text in enumerate(table.column(column)):
        if text and labels[row]:
            rows.append(row)
        else:
            rejected.append(Rejected(keys[row], "it has no label" if text else "it has no text"))
    return rows, rejected


def _unlabelled(table: Table, column: str, targets: tuple[str, ...], sides: str | None) -> tuple[bytes, ...]:
    """Return the texts of the rows that have one and no label, and are not meant to test or validate."""
    places = sides_of(table, sides) or (None,) * len(table.rows)
    rows = zip(table.column(column), labelled(table, targets), places, strict=True)
    return tuple(
        TEXT.encode(text)
        for text, has_label, side in rows
        if text and not has_label and side in (None, "train")
    )


# --- which column is which ------------------------------------------------------------------------------


def _asked_for(table: Table, column: str) -> Finding:
    if column not in table.columns:
        return Finding(None)
    values = table.column(column)
    if _are_files(values):
        return Finding(None)
    return Finding(column, is_certain=_n_words(values) >= _LEAST_WORDS)


def _longest(table: Table, free: Sequence[str]) -> str | None:
    lengths = {c: _n_words(table.column(c)) for c in free if not is_named_label(c)}
    best = max(lengths, key=lengths.__getitem__, default=None)
    return best if best is not None and lengths[best] >= _LEAST_WORDS else None


def _sample(values: Sequence[str]) -> list[str]:
    different = list(dict.fromkeys(value for value in values if value))
    return [value[:_MOST_LOOKED_AT] for value in different[:_N_SAMPLED]]


def _n_words(values: Sequence[str]) -> float:
    """Return the average number of words of different values."""
    sample = _sample(values)
    return sum(len(words_of(value)) for value in sample) / len(sample) if sample else 0.0


def _is_filled(values: Sequence[str]) -> bool:
    return 2 * sum(bool(value) for value in values) >= len(values)


def _are_files(values: Sequence[str]) -> bool:
    """Return whether most values end in a suffix of pictures or texts; addresses in the web are no files."""
    suffixes = frozenset[str]().union(*(one.suffixes for one in modalities()))
    sample = _sample(values)
    n_files = sum(PurePosixPath(v).suffix.lower() in suffixes and "://" not in v for v in sample)
    return 2 * n_files > len(sample)


def _with_header(table: Table, roles: Roles) -> tuple[Table, tuple[str, ...]]:
    """Notice a table without a header: the first line holds a value that occurs again and again below it."""
    is_asked_for = any((roles.input, roles.target, roles.group, roles.time))
    if table.unit == "row" or is_asked_for or _is_header(table.columns):
        return table, ()
    if not any(table.column(name).count(name) > 1 for name in table.columns):
        return table, ()
    return table.with_header_as_row(), (
        "The first line holds values that occur again, so the table has no header.",
    )


def _is_header(names: Sequence[str]) -> bool:
    """Return whether names are those that people or pandas give: one of texts or labels, or 0, 1, 2, ..."""
    is_numbered = list(names) == [str(i) for i in range(len(names))]
    return is_numbered or any(name.lower() in _TEXT_NAMES or is_named_label(name) for name in names)


# --- what the rows are called ---------------------------------------------------------------------------


def _keys(table: Table, taken: set[str]) -> tuple[Sequence[str], tuple[str, ...]]:
    """Return a name for every row, all different, and what is to be said of them."""
    for column in _key_columns(table, taken):
        values = table.column(column)
        if len(set(values)) == len(values) and all(map(_is_lasting, values)):
            return values, (f"Rows are called by column {column!r}.",)
    return [f"{table.unit} {number}" for number in table.numbers], ()


def _key_columns(table: Table, taken: set[str]) -> Iterator[str]:
    free = [column for column in table.columns if column not in taken]
    yield from (c for name in _KEY_NAMES for c in free if c.lower() == name)
    yield from (c for c in free if c.lower().endswith("_id"))


def _is_lasting(value: str) -> bool:
    """Return whether a value comes back from a spreadsheet as it was: not as a shorter number."""
    is_number = value.replace(".", "", 1).isdigit()
    return bool(value) and not (
        is_number and (len(value) > _MOST_DIGITS or value[0] == "0" != value or "." in value)
    )
