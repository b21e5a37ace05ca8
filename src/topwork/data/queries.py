"""Queries as tables: a file of SQL that names files beside it, run by DuckDB.

The query runs in a process of its own that may read the folder of the file and what lies below, and nothing else: no
other file, no network, no extension. It knows nothing of what a column means (see `table_roles`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from topwork.data.tables import Table, table_of, unique_names
from topwork.errors import DataError, MissingExtraError

__all__ = ["QUERY_SUFFIX", "run_query"]

QUERY_SUFFIX = ".sql"
_PROGRAM = Path(__file__).with_name("query_process.py")


def run_query(path: Path) -> Table:
    """Run the query in a file; names of files in it are relative to its folder.

    Raises
    ------
    DataError
        The file cannot be read, the query is none, or it gives no rows.
    MissingExtraError
        DuckDB is not installed.
    """
    if find_spec("duckdb") is None:
        raise MissingExtraError(
            f"Running {path.name} needs DuckDB, which is not installed.",
            next_step="Install topwork with its extra query.",
        )
    columns, rows = _answer(path.name, _asked(path), path.resolve().parent)
    if not rows:
        raise DataError(f"The query {path.name} gives no rows.", next_step="Expected one row per input.")
    names = unique_names(columns)
    return table_of(dict(zip(names, zip(*rows, strict=True), strict=True)))


def _asked(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {path.name}: {error}.", next_step="Save it as UTF-8.") from error


def _answer(name: str, query: str, folder: Path) -> tuple[list[str], list[list[object]]]:
    """Return the names of the columns and the rows."""
    done = subprocess.run(
        # -P: the modules beside the program (`split`, `tables`, ...) are not to be taken for others of these names.
        [sys.executable, "-P", str(_PROGRAM)],
        input=json.dumps({"query": query, "folder": str(folder)}),
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=folder,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.split("\n") if line]
    if done.returncode or not lines:
        last = done.stderr.strip().rpartition("\n")[2]
        raise DataError(
            f"The query {name} broke off (exit status {done.returncode}): {last or 'nothing was said'}.",
            next_step="Ask for less; memory may have run out.",
        )
    if isinstance(lines[-1], dict):
        raise DataError(
            f"The query {name} cannot be run. {lines[-1]['error']}",
            next_step=f"A query is one SELECT over files in {folder} and below.",
        )
    return lines[0], lines[1:]
