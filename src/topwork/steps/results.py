"""Rows of answers as a file: JSON lines as they are, or a table (CSV, Parquet) with a column for every value.

What columns there are is found by a pass over the rows; no more than some of them are in memory. It knows no model.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from topwork.errors import MissingExtraError, UsageError
from topwork.storage import atomic_file

__all__ = ["RESULT_SUFFIXES", "flat", "require_writable", "write_results"]

RESULT_SUFFIXES: Final = (".jsonl", ".csv", ".parquet")
_N_TOGETHER = 1000


def require_writable(out: Path) -> None:
    """Refuse a file that could not be written at the end, before anything is done.

    Raises
    ------
    UsageError
        Its suffix is none of these.
    MissingExtraError
        It is Parquet, and pyarrow is not installed.
    """
    if out.suffix.lower() not in RESULT_SUFFIXES:
        raise UsageError(
            f"{out.name} says no format of results.", next_step=f"End it in {', '.join(RESULT_SUFFIXES)}."
        )
    if out.suffix.lower() == ".parquet":
        _pyarrow(out.name)


def write_results(rows: Path, out: Path) -> None:
    """Turn a file of rows, as JSON lines, into results in the format that the name of ``out`` says.

    JSON lines are the file itself: it is renamed.

    Raises
    ------
    StorageError
        There is no room; ``rows`` is as it was.
    """
    if out.suffix.lower() == ".jsonl":
        rows.replace(out)
        return
    columns = _columns(_rows(rows))
    write = _write_csv if out.suffix.lower() == ".csv" else _write_parquet
    write(partial(_rows, rows), columns, out)


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of results as one of a table: what lies in its answer under joined names, lists as JSON."""
    found = {"row": row["row"], "input": row["input"]}
    for name, value in _leaves(row["answer"], ""):
        found[f"answer.{name}" if name in ("row", "input") else name] = value
    return found


def _leaves(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, one in value.items():
        name = f"{prefix}{key}"
        if isinstance(one, dict):
            yield from _leaves(one, f"{name}.")
        else:
            yield name, json.dumps(one, ensure_ascii=False) if isinstance(one, list) else one


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as stream:
        for line in stream:
            yield flat(json.loads(line))


def _columns(rows: Iterator[Mapping[str, Any]]) -> dict[str, type]:
    """Return the columns in their order, each with what holds all of its values."""
    found: dict[str, type] = {"row": int, "input": str}
    for row in rows:
        for name, value in row.items():
            if value is not None:
                kind = type(value)
                found[name] = kind if found.get(name) in (None, kind, object) else _wider(found[name], kind)
            else:
                found.setdefault(name, object)
    return found


def _wider(one: type, other: type) -> type:
    return float if {one, other} == {int, float} else str


def _write_csv(
    rows: Callable[[], Iterator[Mapping[str, Any]]], columns: Mapping[str, type], out: Path
) -> None:
    cells = ([_cell(row.get(name)) for name in columns] for row in rows())
    with atomic_file(out) as stream:
        for several in _batches(chain([list(columns)], cells)):
            text = io.StringIO(newline="")
            csv.writer(text, lineterminator="\n").writerows(several)
            stream.write(text.getvalue().encode("utf-8", "replace"))


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while several := list(islice(rows, _N_TOGETHER)):
        yield several


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else repr(value) if isinstance(value, float) else value


def _write_parquet(
    rows: Callable[[], Iterator[Mapping[str, Any]]], columns: Mapping[str, type], out: Path
) -> None:
    pyarrow = _pyarrow(out.name)
    kinds = {int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_()}
    schema = pyarrow.schema([(name, kinds.get(kind, pyarrow.string())) for name, kind in columns.items()])
    with atomic_file(out) as stream, pyarrow.parquet.ParquetWriter(stream, schema) as writer:
        for several in _batches(rows()):
            found = [[_typed(row.get(name), kind) for row in several] for name, kind in columns.items()]
            writer.write_batch(pyarrow.record_batch(found, schema=schema))


def _typed(value: Any, kind: type) -> Any:
    if value is None:
        return None
    if kind is float:
        return float(value)
    if kind in (int, bool):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()


def _pyarrow(name: str) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(
            f"Writing {name} needs pyarrow, which is not installed.",
            next_step="Install topwork with its extra tables, or end the name in .jsonl or .csv.",
        ) from error
    return pyarrow
