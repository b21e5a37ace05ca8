"""Whether files that stand under their final names are whole."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from topwork import load
from topwork.storage import TEMPORARY_SUFFIX


def assert_sound(*folders: Path) -> int:
    """Check every file below the folders that is not marked as unfinished; return how many there were."""
    files = [p for folder in folders for p in folder.rglob("*") if p.is_file()]
    finished = [p for p in files if not p.name.endswith(TEMPORARY_SUFFIX)]
    for path in finished:
        _CHECKS.get(path.suffix, _no_check)(path)
    return len(finished)


def _bundle(path: Path) -> None:
    load(path)


def _report(path: Path) -> None:
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")


def _tensors(path: Path) -> None:
    from safetensors.numpy import load_file

    assert load_file(path)


def _features(path: Path) -> None:
    with closing(sqlite3.connect(path)) as base:
        assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _json(path: Path) -> None:
    import json

    json.loads(path.read_text(encoding="utf-8"))


def _labels(path: Path) -> None:
    from topwork.data.corrections import read_corrections

    read_corrections(path)


def _no_check(path: Path) -> None:
    # A kill may meet SQLite before it has changed to its log: its next opening rolls such a journal back.
    assert path.name.endswith((".sqlite-wal", ".sqlite-shm", ".sqlite-journal")), (
        f"nobody knows what {path} is"
    )


_CHECKS = {
    ".topwork": _bundle,
    ".html": _report,
    ".safetensors": _tensors,
    ".sqlite": _features,
    ".json": _json,
    ".csv": _labels,
}
