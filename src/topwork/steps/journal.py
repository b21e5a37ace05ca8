"""Rows of long work that are kept as they are done, each once, whatever ends the process; and who goes on after them.

Rows are appended to two files, those that came to something and those that did not, and flushed to the disk; then one
line of a journal says how far both are good, and is flushed as well. After a kill whatever stands behind the last whole
line of the journal is cut off, and work goes on with the row after it. So a row may be worked on twice, and is kept
once. It knows no model and no input.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from topwork.contracts import Json
from topwork.errors import TopworkError, UsageError
from topwork.storage import explain

__all__ = ["Journal", "JournalPaths", "Mark", "begin", "is_begun", "resume"]

FORMAT: Final = "topwork-batch"
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the work is: rows in all and those that came to nothing; bytes of both files; whether it is over."""

    n_rows: int = 0
    n_failed: int = 0
    good_bytes: int = 0
    bad_bytes: int = 0
    over: bool = False


@dataclass(frozen=True, slots=True)
class JournalPaths:
    """The files of unfinished work; all stand beside the one that it is to become."""

    journal: Path
    good: Path
    bad: Path

    @staticmethod
    def beside(out: Path) -> JournalPaths:
        """Return their names."""
        return JournalPaths(
            *(out.with_name(f"{out.name}.{end}") for end in ("journal", "part", "failed-part"))
        )


class Journal:
    """Work under way; made by `begin` or `resume`.

    Parameters
    ----------
    paths
        Its files.
    handle
        The journal, open, locked, and at its end.
    mark
        How far the work is.

    Attributes
    ----------
    mark
        How far it is for good.
    """

    def __init__(self, paths: JournalPaths, handle: IO[bytes], mark: Mark) -> None:
        self.paths, self.mark = paths, mark
        self._handle = handle
        self._good: list[bytes] = []
        self._bad: list[bytes] = []

    @property
    def n_waiting(self) -> int:
        """Rows that are added and not yet kept."""
        return len(self._good) + len(self._bad)

    def add(self, line: bytes, *, failed: bool = False) -> None:
        """Take a row, in its order; `commit` keeps it."""
        (self._bad if failed else self._good).append(line)

    def commit(self, *, over: bool = False) -> None:
        """Keep all rows that were added; on return they are on the disk.

        Raises
        ------
        StorageError
            They could not be kept; work can go on later with the row after those that were.
        """
        good, bad = b"".join(self._good), b"".join(self._bad)
        mark = Mark(
            self.mark.n_rows + self.n_waiting,
            self.mark.n_failed + len(self._bad),
            self.mark.good_bytes + len(good),
            self.mark.bad_bytes + len(bad),
            over,
        )
        if mark == self.mark:
            return
        _append(self.paths.good, good, self.mark.good_bytes)
        _append(self.paths.bad, bad, self.mark.bad_bytes)
        try:
            self._handle.write(_line(_mark_json(mark)))
            self._handle.flush()
            os.fsync(self._handle.fileno())
        except OSError as error:
            raise explain(error, self.paths.journal) from error
        self.mark, self._good, self._bad = mark, [], []

    def end(self, write: Callable[[Path], object], out: Path, failed: Path) -> None:
        """Put what was kept under its final names, and the journal away; may be done again where it was broken off.

        Parameters
        ----------
        write
            Turns the file of rows that came to something into ``out``; may rename it.
        """
        if not self.mark.over:
            self.commit(over=True)
        try:
            if self.paths.bad.exists():
                if self.mark.n_failed:
                    self.paths.bad.replace(failed)
                else:
                    self.paths.bad.unlink()
            if self.paths.good.exists():
                write(self.paths.good)
                with suppress(FileNotFoundError):  # it may have become `out` itself
                    self.paths.good.unlink()
            _sync_folder(out.parent)
            self.paths.journal.unlink()
        except OSError as error:
            raise explain(error, out) from error

    def close(self) -> None:
        """Let another process go on; what was not committed is lost."""
        with suppress(OSError):
            self._handle.close()


def is_begun(out: Path) -> bool:
    """Return whether there is unfinished work for a file."""
    return JournalPaths.beside(out).journal.exists()


def begin(out: Path, order: Mapping[str, Json]) -> Journal:
    """Begin work whose rows are to become ``out``; ``order`` says what is done, and must be the same to go on.

    Raises
    ------
    UsageError
        There is unfinished work.
    StorageError
        There is no place for it.
    """
    paths = JournalPaths.beside(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle = paths.journal.open("xb")
    except FileExistsError as error:
        raise UsageError(
            f"There is unfinished work for {out}.",
            next_step=f"Add --resume to go on with it, or remove {paths.journal} to begin anew.",
        ) from error
    except OSError as error:
        raise explain(error, paths.journal) from error
    with _closed_on_error(handle, paths.journal):
        _lock(handle, out)
        _write_head(handle, order)
        for path in (paths.good, paths.bad):
            path.write_bytes(b"")
        _sync_folder(out.parent)
    return Journal(paths, handle, Mark())


def resume(out: Path, order: Mapping[str, Json]) -> Journal:
    """Go on with unfinished work, after the last row that was kept.

    Raises
    ------
    UsageError
        It was other work, another process does it, or the journal is none.
    StorageError
        Its files cannot be used.
    """
    paths = JournalPaths.beside(out)
    try:
        handle = paths.journal.open("r+b")
    except OSError as error:
        raise explain(error, paths.journal) from error
    with _closed_on_error(handle, paths.journal):
        _lock(handle, out)
        head, mark, n_bytes = _read(handle.read())
        if head:
            _require_same(head, order, paths.journal)
        handle.truncate(n_bytes)
        handle.seek(n_bytes)
        if not head:  # it was killed before it began
            _write_head(handle, order)
        if not mark.over:
            _cut(paths.good, mark.good_bytes)
            _cut(paths.bad, mark.bad_bytes)
    return Journal(paths, handle, mark)


@contextmanager
def _closed_on_error(handle: IO[bytes], path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        handle.close()
        if isinstance(error, OSError) and not isinstance(error, TopworkError):
            raise explain(error, path) from error
        raise


def _write_head(handle: IO[bytes], order: Mapping[str, Json]) -> None:
    handle.write(_line({"format": FORMAT, "version": VERSION, "order": order}))
    handle.flush()
    os.fsync(handle.fileno())


def _append(path: Path, content: bytes, at: int) -> None:
    """Write behind what is good already; what stands there is of a try that failed."""
    if not content:
        return
    try:
        with path.open("r+b") as stream:
            stream.seek(at)
            stream.truncate()
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise explain(error, path) from error


def _cut(path: Path, n_bytes: int) -> None:
    with path.open("ab") as stream:
        if stream.tell() < n_bytes:
            raise UsageError(
                f"{path} has {stream.tell():,} bytes; {n_bytes:,} were kept in it.",
                next_step="It was changed by another program; remove it and its journal, and begin anew.",
            )
        stream.truncate(n_bytes)


def _lock(handle: IO[bytes], out: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows has none
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            f"Another process works on {out}.", next_step="Wait for it, or choose another file."
        ) from error


def _sync_folder(folder: Path) -> None:
    """Have the names of new files on the disk as well, where a system can say so."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# --- the journal's lines --------------------------------------------------------------------------------


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=True, default=str).encode() + b"\n"


def _mark_json(mark: Mark) -> dict[str, Any]:
    return {
        "rows": [mark.n_rows, mark.n_failed],
        "bytes": [mark.good_bytes, mark.bad_bytes],
        "over": mark.over,
    }


def _read(content: bytes) -> tuple[dict[str, Any], Mark, int]:
    """Return the head, the last mark, and up to where the journal is whole."""
    head: dict[str, Any] = {}
    mark, n_bytes = Mark(), 0
    for line in content.splitlines(keepends=True):
        try:
            found = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            break
        if not head:
            head = found
        else:
            (n_rows, n_failed), (good_bytes, bad_bytes) = found["rows"], found["bytes"]
            mark = Mark(n_rows, n_failed, good_bytes, bad_bytes, found["over"])
        n_bytes += len(line)
    return head, mark, n_bytes


def _require_same(head: Mapping[str, Any], order: Mapping[str, Json], path: Path) -> None:
    if (head.get("format"), head.get("version")) != (FORMAT, VERSION):
        raise UsageError(
            f"{path} is no journal that this version can read.",
            next_step="Go on with the version that began, or remove it to begin anew.",
        )
    before, now = head["order"], json.loads(json.dumps(order, default=str))
    differing = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    if differing:
        what = "; ".join(f"{name} was {before.get(name)!r}, and is {now.get(name)!r}" for name in differing)
        raise UsageError(
            f"The unfinished work was other work: {what}."[:1000],
            next_step=f"Give what it was begun with, or remove {path} to begin anew.",
        )
