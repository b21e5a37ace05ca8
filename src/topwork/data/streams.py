"""Inputs one after the other, of a folder, a table or a list, however many there are: they are never all in memory.

A row that makes no sense is a row with a problem, and ends nothing. It knows no model; what a label is does not matter
here. Tables that a fit reads are read whole by `reading`.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias

from topwork.contracts import Modality
from topwork.data.table_layout import FILE_NAMES
from topwork.data.table_roles import Roles
from topwork.data.table_texts import find_texts
from topwork.data.tables import MAX_CELL, delimiter_of, table_of, unique_names
from topwork.data.trees import folder_tree
from topwork.errors import DataError, DecodeError, MissingExtraError
from topwork.inputs.files import read_file

__all__ = ["STREAM_SUFFIXES", "Row", "Stream", "open_stream"]

STREAM_SUFFIXES: Final = (".jsonl", ".ndjson", ".csv", ".tsv", ".tab", ".parquet", ".txt")
"""Files that hold inputs or name them; a ``.txt`` has one in each line."""

_N_SAMPLED = 200
_MAX_LINE_BYTES = 64 * 2**20
_LONGEST_NAME = 80
_SNIFFED_CHARACTERS = 100_000
_INPUT_NAMES = ("input", "inputs", "vector", "features", "embedding", "numbers", "values", "x")
_LINE = ""
"""Name of the one column of what has no columns."""

Record: TypeAlias = "tuple[str, Mapping[str, Any] | str]"
"""Where it stands, and its cells; a text in place of these is a problem."""


@dataclass(frozen=True, slots=True)
class Row:
    """One input, not read yet.

    Attributes
    ----------
    number
        Which one it is, from 1.
    place
        Where it stands, for a person: ``line 12``, ``row 12``, or a path below the folder.
    name
        What it is called: its path, the beginning of a text, or its place.
    source
        Where its bytes are, or these; None where it has a problem.
    """

    number: int
    place: str
    name: str
    source: Path | bytes | None
    problem: str = ""

    def content(self) -> bytes:
        """Return the encoded input.

        Raises
        ------
        DecodeError
            It has a problem, or its file cannot be read.
        """
        if self.source is None:
            raise DecodeError(self.problem)
        return self.source if isinstance(self.source, bytes) else read_file(self.source)


@dataclass(frozen=True, slots=True)
class Stream:
    """Inputs in an order that is always the same.

    Attributes
    ----------
    path
        What they come from.
    column
        Column that holds or names them; empty where there are no columns.
    mark
        Another one where what they come from has changed.
    count
        Counts them, which may take a pass over a file.
    every
        Gives them from the first one on.

    Raises
    ------
    DataError
        While counting or giving: a file is damaged where it cannot be read on.
    """

    path: Path
    column: str
    mark: str
    count: Callable[[], int]
    every: Callable[[], Iterator[Row]]

    def rows(self, n_skipped: int = 0) -> Iterator[Row]:
        """Yield the rows after the first ``n_skipped``; none of those is read."""
        return islice(self.every(), n_skipped, None)


def open_stream(path: Path, modality: Modality, column: str | None = None) -> Stream:
    """Look at what a path names, and return its inputs.

    Parameters
    ----------
    path
        A folder of inputs, a table (CSV, TSV, JSON lines, Parquet), or a ``.txt`` with an input in each line.
    modality
        What the inputs are. Of texts and numbers a cell is the input; of others it is the path of a file, relative to
        the table's folder, or a ``data:`` URL, or in Parquet the file's bytes.
    column
        Which one; None to find it.

    Raises
    ------
    DataError
        There is nothing there that can be read, or it is not clear which column is meant.
    MissingExtraError
        It is Parquet, and pyarrow is not installed.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist.", next_step=_EXPECTED)
    if path.is_dir():
        return _of_folder(path, modality)
    if path.suffix.lower() not in STREAM_SUFFIXES:
        raise DataError(f"{path.name} is nothing that holds many inputs.", next_step=_EXPECTED)
    records, count = _reader(path)
    chosen = _LINE if path.suffix.lower() == ".txt" else _column(path, records, modality, column)
    found = path.stat()
    every = partial(_rows, partial(records, chosen), chosen, modality, path.parent)
    return Stream(path, chosen, f"{found.st_size}-{found.st_mtime_ns}", count, every)


_EXPECTED = (
    "Give a folder, a table (CSV, TSV, JSONL, Parquet), or a .txt with an input, or its path, in each line."
)

Records: TypeAlias = Callable[[str | None], Iterator[Record]]
"""Gives the records of a file, each with the cell of one column, or with all of them."""


def _of_folder(path: Path, modality: Modality) -> Stream:
    names = [one for one in folder_tree(path).names if Path(one).suffix.lower() in modality.suffixes]
    if not names:
        raise DataError(
            f"The folder {path} holds no {modality.wire.noun}; expected files ending in "
            f"{', '.join(sorted(modality.suffixes))}.",
            next_step="Name the files in a .txt, one a line, to try them whatever they are called.",
        )
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()

    def every() -> Iterator[Row]:
        return (Row(i, name, str(path / name), path / name) for i, name in enumerate(names, start=1))

    return Stream(path, _LINE, digest, lambda: len(names), every)


def _reader(path: Path) -> tuple[Records, Callable[[], int]]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        file = partial(_parquet_file, path)
        return partial(_parquet_records, file, path), partial(_n_parquet_rows, file)
    if suffix in (".jsonl", ".ndjson", ".txt"):
        of = _line_record if suffix == ".txt" else _json_record
        return partial(_line_records, path, of), lambda: sum(1 for _ in _lines(path))
    records = partial(_separated_records, path, _encoding(path), "\t" if suffix in (".tsv", ".tab") else None)
    return records, lambda: sum(1 for _ in records(None))


# --- from records to rows -------------------------------------------------------------------------------


def _rows(
    records: Callable[[], Iterator[Record]], column: str, modality: Modality, folder: Path
) -> Iterator[Row]:
    for number, (place, cells) in enumerate(records(), start=1):
        if isinstance(cells, str):
            yield Row(number, place, place, None, cells)
        else:
            yield _row(number, place, cells.get(column), modality, folder)


def _row(number: int, place: str, value: Any, modality: Modality, folder: Path) -> Row:
    kind = modality.wire.in_json
    try:
        source = _SOURCES[kind](value, folder)
    except (ValueError, TypeError) as error:
        return Row(number, place, place, None, f"It is no {modality.wire.noun}: {error}.")
    if not source:
        return Row(number, place, place, None, f"There is no {modality.wire.noun}: the cell is empty.")
    if isinstance(value, str) and not value.startswith("data:"):
        return Row(number, place, value if kind == "base64" else _beginning(value), source)
    return Row(number, place, place, source)


def _beginning(text: str) -> str:
    line = " ".join(text[: 10 * _LONGEST_NAME].split())
    return line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 1]}…"


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value) or value == ""


def _of_text(value: Any, folder: Path) -> bytes:
    del folder
    return b"" if _is_missing(value) else str(value).strip().encode("utf-8", "replace")


def _of_numbers(value: Any, folder: Path) -> bytes:
    del folder
    if isinstance(value, list | tuple):
        return json.dumps(value, allow_nan=False).encode()
    return b"" if _is_missing(value) else str(value).strip().encode("utf-8", "replace")


def _of_file(value: Any, folder: Path) -> Path | bytes:
    if isinstance(value, Mapping):  # as data sets of the Hugging Face hub have pictures
        value = value.get("bytes") or value.get("path")
    if _is_missing(value):
        return b""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise TypeError(f"the cell is {type(value).__name__}, expected the path of a file")
    if value.startswith("data:"):
        try:
            return base64.b64decode(value.partition(",")[2], validate=True)
        except binascii.Error as error:
            raise ValueError(f"the data: URL is not base64 ({error})") from error
    return folder / value.strip()


_SOURCES: Final[Mapping[str, Callable[[Any, Path], Path | bytes]]] = {
    "text": _of_text,
    "numbers": _of_numbers,
    "base64": _of_file,
}


# --- which column ---------------------------------------------------------------------------------------


def _column(path: Path, records: Records, modality: Modality, wanted: str | None) -> str:
    sample = [cells for _, cells in islice(records(None), _N_SAMPLED) if not isinstance(cells, str)]
    columns = list(dict.fromkeys(name for cells in sample for name in cells))
    if not columns:
        raise DataError(f"The table {path.name} has no rows.", next_step="Expected one row per input.")
    found = wanted if wanted is not None else _found(sample, columns, modality, path.parent)
    if found not in columns:
        problem = (
            f"There is no column {wanted!r} in {path.name}"
            if wanted is not None
            else f"It is not clear which column of {path.name} holds or names the {modality.wire.noun}s"
        )
        raise DataError(
            f"{problem}; its columns are: {', '.join(columns)}.",
            next_step="Say which one with `--input COLUMN`.",
        )
    return str(found)


def _found(
    sample: Sequence[Mapping[str, Any]], columns: Sequence[str], modality: Modality, folder: Path
) -> str | None:
    if len(columns) == 1:
        return columns[0]
    kind = modality.wire.in_json
    if kind == "text":
        table = table_of({name: [cells.get(name) for cells in sample] for name in columns})
        return find_texts(table, Roles()).column
    if kind == "base64":
        named = [name for name in columns if any(_leads(cells.get(name), folder) for cells in sample)]
        return min(named, key=_file_rank, default=None)
    return next((one for name in _INPUT_NAMES for one in columns if one.lower() == name), None)


def _leads(value: Any, folder: Path) -> bool:
    """Return whether a cell holds a file, or the path of one that is there."""
    try:
        source = _of_file(value, folder)
        return source.is_file() if isinstance(source, Path) else bool(source)
    except (ValueError, TypeError, OSError):
        return False


def _file_rank(name: str) -> int:
    return FILE_NAMES.index(name.lower()) if name.lower() in FILE_NAMES else len(FILE_NAMES)


# --- kinds of files -------------------------------------------------------------------------------------


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not empty, each with its number; of one that is too long only its beginning."""
    with path.open("rb") as stream:
        if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise DataError(f"{path.name} is UTF-16; expected UTF-8.", next_step="Save it as UTF-8.")
        stream.seek(0)
        number = 0
        while line := stream.readline(_MAX_LINE_BYTES):
            number += 1
            rest = line
            while len(rest) == _MAX_LINE_BYTES and not rest.endswith(b"\n"):
                rest = stream.readline(_MAX_LINE_BYTES)
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if line.strip():
                yield number, line


def _line_records(
    path: Path, of: Callable[[bytes], Mapping[str, Any] | str], _: str | None
) -> Iterator[Record]:
    for number, line in _lines(path):
        too_long = f"The line has {_MAX_LINE_BYTES:,} bytes or more."
        yield f"line {number}", too_long if len(line) >= _MAX_LINE_BYTES else of(line)


def _line_record(line: bytes) -> Mapping[str, Any] | str:
    return {_LINE: line.decode("utf-8", "replace").strip()}


def _json_record(line: bytes) -> Mapping[str, Any] | str:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"The line is no JSON: {error}."
    return value if isinstance(value, dict) else "The line is no JSON object."


def _encoding(path: Path) -> str:
    """Return the encoding of a file, by a pass over it: UTF-8, or else what Windows has."""
    with path.open("rb") as stream:
        if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        stream.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while chunk := stream.read(2**20):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8-sig"


def _separated_records(path: Path, encoding: str, delimiter: str | None, _: str | None) -> Iterator[Record]:
    with path.open(encoding=encoding, errors="replace", newline="") as stream:
        if delimiter is None:
            delimiter = delimiter_of(stream.read(_SNIFFED_CHARACTERS))
            stream.seek(0)
        # The limit is the process's, and 131,072 characters by default: less than some texts have.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL))
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        try:
            filled = (row for row in reader if any(cell.strip() for cell in row))
            columns = unique_names([cell.strip() for cell in next(filled, [])])
            for row in filled:
                yield f"line {reader.line_num}", _cells(columns, row)
        except csv.Error as error:
            raise DataError(
                f"Cannot read {path.name}, line {reader.line_num}: {error}.",
                next_step="Repair the line, or save it again.",
            ) from error


def _cells(columns: Sequence[str], row: Sequence[str]) -> Mapping[str, Any] | str:
    if len(row) > len(columns) and any(cell.strip() for cell in row[len(columns) :]):
        return f"It has {len(row)} values for {len(columns)} columns."
    return dict(zip(columns, row, strict=False))


def _parquet_file(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(
            f"Reading {path.name} needs pyarrow, which is not installed.",
            next_step="Install topwork with its extra tables.",
        ) from error
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"Cannot read {path.name} as Parquet: {error}.", next_step="Write it again."
        ) from error


def _parquet_records(file: Callable[[], Any], path: Path, column: str | None) -> Iterator[Record]:
    number = 0
    with file() as opened:
        import pyarrow

        try:
            for batch in opened.iter_batches(
                batch_size=_N_SAMPLED, columns=None if column is None else [column]
            ):
                for cells in batch.to_pylist():
                    number += 1
                    yield f"row {number}", cells
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                f"Cannot read {path.name} after row {number:,}: {error}.", next_step="Write it again."
            ) from error


def _n_parquet_rows(file: Callable[[], Any]) -> int:
    with file() as opened:
        return int(opened.metadata.num_rows)
