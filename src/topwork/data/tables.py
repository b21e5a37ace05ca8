"""Tables as text: CSV, TSV, JSON lines and Parquet become columns of strings.

A missing value is the empty string. It knows nothing of what a column means (see `table_layout`).
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Literal

from topwork.contracts import Rejected
from topwork.errors import DataError, MissingExtraError

__all__ = [
    "MAX_CELL",
    "TABLE_SUFFIXES",
    "Table",
    "delimiter_of",
    "json_rows",
    "parse_table",
    "table_of",
    "unique_names",
]

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet"})
"""Suffixes of tables, lower case."""

_DELIMITERS = ",;\t|"
_N_SNIFFED_ROWS = 50
MAX_CELL = 16 * 1024 * 1024
"""Most characters of one value."""


@dataclass(frozen=True, slots=True)
class Table:
    """Named columns of text, all of one length.

    Attributes
    ----------
    columns
        Names, unique.
    rows
        One tuple per row, as long as ``columns``; a missing value is empty.
    numbers
        Where each row stands in its file, counted from 1, for a person who looks it up.
    notes
        What a reader should know, such as an encoding that was guessed.
    rejected
        Rows that have no meaning, such as those with too many values.
    unit
        What the numbers count: lines of a text file, or rows of what has no lines.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...]
    notes: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    unit: Literal["line", "row"] = "line"

    def column(self, name: str) -> tuple[str, ...]:
        """Return the values of one column."""
        at = self.columns.index(name)
        return tuple(row[at] for row in self.rows)

    def with_header_as_row(self) -> Table:
        """Return the table for a file that has no header: columns are called ``column 1``, ``column 2``, ..."""
        names = tuple(f"column {i + 1}" for i in range(len(self.columns)))
        return replace(self, columns=names, rows=(self.columns, *self.rows), numbers=(1, *self.numbers))


def parse_table(name: str, content: bytes) -> Table:
    """Read a table; the suffix of its name says which kind.

    Raises
    ------
    DataError
        It is empty or damaged.
    MissingExtraError
        It is Parquet and pyarrow is not installed.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".parquet":
        table = _parquet(name, content)
    elif suffix in (".jsonl", ".ndjson"):
        table = _json_lines(name, content)
    else:
        table = _separated(name, content, "\t" if suffix in (".tsv", ".tab") else None)
    if not table.rows:
        first = next(iter(table.rejected), None)
        raise DataError(
            f"The table {name} has no rows"
            + (f" that can be used: {first.key}: {first.reason}." if first is not None else "."),
            next_step="Expected a header and one row per input, each with as many values as there are columns.",
        )
    return table


def _separated(name: str, content: bytes, delimiter: str | None) -> Table:
    text, notes = _decoded(name, content)
    try:
        lines = _lines(name, text, delimiter or delimiter_of(text))
    except DataError:
        if delimiter != "\t":
            raise
        # Many programs write tabs between texts and leave quotation marks as they are.
        lines = _lines(name, text, delimiter, quoting=csv.QUOTE_NONE)
        notes.append(f"Quotation marks in {name} do not pair up; they were read as a part of the values.")
    if not lines:
        raise DataError(f"The table {name} is empty.", next_step="Expected a header and one row per input.")
    columns = unique_names([cell.strip() for cell in lines[0][1]])
    return _rectangular(name, columns, lines[1:], notes)


def _lines(
    name: str, text: str, delimiter: str, *, quoting: Literal[0, 3] = csv.QUOTE_MINIMAL
) -> list[tuple[int, list[str]]]:
    """Return the number and the cells of each line that is not empty."""
    # The limit is the process's, and 131,072 characters by default: less than some texts have.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, quoting=quoting)
    try:
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(
            f"Cannot read {name}, line {reader.line_num}: {error}.",
            next_step="Repair the line, or save it again.",
        ) from error


def _rectangular(
    name: str, columns: tuple[str, ...], lines: list[tuple[int, list[str]]], notes: list[str]
) -> Table:
    rows, numbers, rejected = [], [], []
    n_columns = len(columns)
    for number, cells in lines:
        if len(cells) > n_columns and any(cell.strip() for cell in cells[n_columns:]):
            reason = f"it has {len(cells)} values for {n_columns} columns"
            rejected.append(Rejected(f"{name}, line {number}", reason))
            continue
        padded = [cell.strip() for cell in cells[:n_columns]] + [""] * (n_columns - len(cells))
        rows.append(tuple(padded))
        numbers.append(number)
    return Table(columns, tuple(rows), tuple(numbers), tuple(notes), tuple(rejected))


def _decoded(name: str, content: bytes) -> tuple[str, list[str]]:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8-sig", "cp1252", "latin-1"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        is_guess = encoding in ("cp1252", "latin-1")
        return text, [f"{name} is not UTF-8; it was read as Windows text ({encoding})."] if is_guess else []
    raise DataError(f"{name} is no text in a known encoding.", next_step="Save it as UTF-8.")


def delimiter_of(text: str) -> str:
    """Return the delimiter that cuts most lines into the same number of pieces, more than one."""

    def agreement(delimiter: str) -> tuple[int, int]:
        rows = csv.reader(io.StringIO(text[:100_000], newline=""), delimiter=delimiter)
        try:
            widths = Counter(len(row) for row, _ in zip(rows, range(_N_SNIFFED_ROWS), strict=False) if row)
        except csv.Error:
            return (0, 0)
        width, n_rows = widths.most_common(1)[0] if widths else (0, 0)
        return (n_rows, width) if width > 1 else (0, 0)

    return max(_DELIMITERS, key=agreement)


def json_rows(name: str, content: bytes) -> tuple[list[tuple[int, dict[str, Any]]], list[str]]:
    """Return the object of each line that is not empty with the line's number, and what a reader should know.

    Raises
    ------
    DataError
        A line is no JSON object.
    """
    text, notes = _decoded(name, content)
    # Not splitlines(): JSON strings may hold other line separators, unescaped.
    lines = enumerate(text.split("\n"), start=1)
    return [(number, _json_object(name, number, line)) for number, line in lines if line.strip()], notes


def _json_lines(name: str, content: bytes) -> Table:
    objects, notes = json_rows(name, content)
    columns = tuple(dict.fromkeys(key for _, one in objects for key in one))
    rows = tuple(tuple(_text(one.get(column)) for column in columns) for _, one in objects)
    return Table(columns, rows, tuple(number for number, _ in objects), tuple(notes))


def _json_object(name: str, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{name}, line {number} is no JSON: {error}.", next_step="Repair the line."
        ) from error
    if not isinstance(value, dict):
        raise DataError(
            f"{name}, line {number} is {type(value).__name__}; expected an object such as "
            '{"file": "a.jpg", "label": "cat"}.'
        )
    return value


def _parquet(name: str, content: bytes) -> Table:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(
            f"Reading {name} needs pyarrow, which is not installed.",
            next_step="Install topwork with its extra tables.",
        ) from error
    try:
        columns = pyarrow.parquet.read_table(pyarrow.BufferReader(content)).to_pydict()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"Cannot read {name} as Parquet: {error}.", next_step="Write it again.") from error
    return table_of(columns)


def table_of(columns: Mapping[str, Iterable[object]]) -> Table:
    """Return columns of typed values, all of one length, as a table of text."""
    values = [[_text(value) for value in column] for column in columns.values()]
    rows = tuple(zip(*values, strict=True))
    return Table(tuple(columns), rows, tuple(range(1, len(rows) + 1)), unit="row")


def _text(value: object) -> str:
    """Return a typed value as a person would have written it; missing is empty."""
    if value is None or value != value:  # NaN is not itself
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # whole numbers become floats where a column has gaps
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    isoformat = getattr(value, "isoformat", None)
    return str(isoformat() if isoformat else value).strip()


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Give empty and repeated headers names of their own."""
    taken: dict[str, int] = {}
    result = []
    for i, name in enumerate(names):
        base = name or f"column {i + 1}"
        taken[base] = taken.get(base, 0) + 1
        result.append(base if taken[base] == 1 else f"{base} ({taken[base]})")
    return tuple(result)
