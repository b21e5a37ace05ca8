"""The process in which a query runs: it may read files in one folder and below, and nothing else.

It is a program of its own, because DuckDB takes relative names from the folder of its process; before 1.5 it refuses
them altogether where it may read one folder only. It reads one JSON object from standard input,
``{"query": ..., "folder": ...}``, and writes JSON lines: the names of the columns and then the rows, or one object with
the key ``error``. It imports nothing of topwork and knows nothing of what a column means.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

_N_ROWS = 10_000
"""Rows that are taken out of DuckDB at a time."""


def main() -> None:
    """Run one query."""
    asked = json.load(sys.stdin)
    try:
        for line in _lines(asked["query"], asked["folder"]):
            sys.stdout.write(json.dumps(line, default=str) + "\n")
    except _RefusedError as error:
        sys.stdout.write(json.dumps({"error": str(error)}) + "\n")


class _RefusedError(Exception):
    """What is wrong with a query, in words."""


def _lines(query: str, folder: str) -> Iterator[object]:
    import duckdb

    try:
        connection = duckdb.connect(":memory:", config={"autoload_known_extensions": "false"})
        for setting in _settings(folder):
            connection.execute(setting)
        statements = connection.extract_statements(query)
        if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
            raise _RefusedError(f"It holds {len(statements)} statements; expected one, and that a SELECT.")
        result = connection.execute(statements[0])
        yield [column[0] for column in result.description or ()]
        while rows := result.fetchmany(_N_ROWS):
            yield from rows
    except duckdb.Error as error:
        raise _RefusedError(str(error)) from error


def _settings(folder: str) -> Iterator[str]:
    quoted = folder.rstrip("/").replace("'", "''")
    yield "SET autoinstall_known_extensions = false"
    yield f"SET allowed_directories = ['{quoted}/']"
    yield "SET temp_directory = ''"
    yield "SET python_enable_replacements = false"
    yield "SET threads = 1"  # the order of the rows is then that of the files
    yield "SET enable_external_access = false"
    yield "SET lock_configuration = true"


if __name__ == "__main__":
    main()
