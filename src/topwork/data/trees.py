"""Trees of files: a folder or a zip archive, listed once and read file by file.

Readers of layouts see names and bytes, never a disk. Hidden files and the litter that systems leave
(``.DS_Store``, ``Thumbs.db``, ``__MACOSX``) are left out here. It knows nothing of labels, tables or pictures.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from topwork.contracts import Rejected
from topwork.errors import DataError, DecodeError

__all__ = ["MAX_FILE_BYTES", "Tree", "folder_tree", "is_hidden", "read_path"]

MAX_FILE_BYTES = 256 * 1024 * 1024
"""Largest single input that is read, in bytes."""

_LITTER = frozenset(
    {"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r", "__macosx", "@eadir", "$recycle.bin"}
)


@dataclass(frozen=True, slots=True)
class Tree:
    """Files below one root.

    Attributes
    ----------
    title
        What it is, for a person: ``the folder photos``.
    names
        Paths below the root, with ``/`` between the parts, sorted.
    read
        Gives a file's bytes; called from several threads; raises `DecodeError` where it cannot.
    rejected
        Files that were not listed, with the reason.
    root
        The folder that names of files outside may be relative to; None for an archive, which has no outside.
    """

    title: str
    names: tuple[str, ...]
    read: Callable[[str], bytes]
    rejected: tuple[Rejected, ...] = ()
    root: Path | None = None


@dataclass(frozen=True, slots=True)
class _FolderReader:
    root: Path

    def __call__(self, name: str) -> bytes:
        return read_path(self.root / name)


def folder_tree(root: Path) -> Tree:
    """List the files below a folder, through symbolic links too, each real folder once.

    Raises
    ------
    DataError
        The folder cannot be listed.
    """
    visited: set[Path] = set()
    names = sorted(path.relative_to(root).as_posix() for path in _walk(root, visited))
    return Tree(f"the folder {root.name or root}", tuple(names), _FolderReader(root), root=root)


def is_hidden(part: str) -> bool:
    """Return whether a file or folder of that name is hidden or a system's litter."""
    return part.startswith(".") or part.lower() in _LITTER


def read_path(path: Path) -> bytes:
    """Read a file of bounded size.

    Raises
    ------
    DecodeError
        It is gone, too large or not readable.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DecodeError(f"The file has {size:,} bytes; at most {MAX_FILE_BYTES:,} are read.")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DecodeError("The file does not exist.") from error
    except OSError as error:
        raise DecodeError(f"The file cannot be read: {(error.strerror or str(error)).lower()}.") from error


def _walk(folder: Path, visited: set[Path]) -> Iterator[Path]:
    real = folder.resolve()
    if real in visited:
        return  # a link that leads back up, or a second way to the same folder
    visited.add(real)
    entries = _entries(folder)
    # Real folders first, so that it is never a link that gives a file its name where both are there.
    for entry in sorted(entries, key=lambda e: (e.is_symlink(), e.name)):
        path = folder / entry.name
        if entry.is_dir():
            yield from _walk(path, visited)
        elif entry.is_file():
            yield path


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not is_hidden(entry.name)]
    except OSError as error:
        raise DataError(
            f"Cannot list the folder {folder}: {(error.strerror or str(error)).lower()}.",
            next_step="Give yourself permission to read it, or take it out of the data set.",
        ) from error
