"""What tells a file, or a folder of files, from the one that stood there before. It knows no model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

__all__ = ["Mark", "mark_of"]

Mark: TypeAlias = tuple[int | str, ...]


def mark_of(paths: Iterable[Path]) -> Mark:
    """Return what is another one as soon as one of the files is; of a folder, one of those below it.

    A file that is not there adds nothing: whoever opens it will say so.
    """
    return tuple(part for path in paths for file in _files(path) for part in _mark(file))


def _files(path: Path) -> list[Path]:
    return [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]


def _mark(path: Path) -> Mark:
    try:
        found = path.stat()
    except OSError:
        return ()
    return (path.name, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
