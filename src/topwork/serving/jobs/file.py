"""The file of jobs: one SQLite database that one thread of one process uses. It knows its tables, and nothing of a job.

It is opened here, made where there is none, brought up to date where an earlier version made it, and refused where it
is damaged, in use, or another program's; and what SQLite says is put into words for whoever keeps the server.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from topwork.errors import StorageError, UsageError
from topwork.storage import explain

__all__ = ["Connect", "explained", "open_file"]

Connect: TypeAlias = Callable[[str], sqlite3.Connection]

FORMAT: Final = 0x746A_6F62
"""SQLite's application_id of these files, "tjob"."""

VERSION: Final = 2
_PATIENCE_S = 2.0
_TABLES = (
    """CREATE TABLE jobs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        model TEXT NOT NULL,
        status TEXT NOT NULL,
        created_s REAL NOT NULL,
        ended_s REAL,
        content_type TEXT NOT NULL,
        body BLOB,
        n_inputs INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        answer BLOB,
        repeat_key TEXT,
        fingerprint TEXT NOT NULL,
        hook TEXT,
        hook_tries INTEGER NOT NULL DEFAULT 0,
        hook_due_s REAL
    )""",
    "CREATE UNIQUE INDEX once ON jobs (owner, repeat_key) WHERE repeat_key IS NOT NULL",
    "CREATE INDEX line ON jobs (status, model, number)",
)
_SINCE: Mapping[int, tuple[str, ...]] = {
    2: (
        "ALTER TABLE jobs ADD COLUMN n_done INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN n_failed INTEGER NOT NULL DEFAULT 0",
        # What is over was worked on to its last input; what failed of it, that version did not note.
        "UPDATE jobs SET n_done=n_inputs WHERE status='done'",
        "CREATE INDEX own ON jobs (owner, created_s, id)",
    ),
}
"""What each version has that the one before it had not."""


def _plain(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_PATIENCE_S, check_same_thread=False)


def open_file(path: Path, connect: Connect | None = None) -> sqlite3.Connection:
    """Open the file; make it where there is none, its owner's alone.

    Raises
    ------
    StorageError
        It is damaged, or cannot be read or written.
    UsageError
        Another process uses it, or it is another program's.
    """
    _make_private(path)
    try:
        db = (connect or _plain)(str(path))
    except sqlite3.Error as error:
        raise explained(error, path) from error
    try:
        _prepare(db, path)
    except BaseException as error:
        db.close()
        if isinstance(error, sqlite3.Error):
            raise explained(error, path) from error
        raise
    return db


def _make_private(path: Path) -> None:
    """Make the file where there is none, so that SQLite takes over its mode for its log as well."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise explain(error, path) from error


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    # Another process is refused for as long as this one lives.
    db.execute("PRAGMA locking_mode=EXCLUSIVE")
    db.execute("PRAGMA auto_vacuum=INCREMENTAL")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA secure_delete=ON")  # what has expired is overwritten, not only forgotten
    [(found,)] = db.execute("PRAGMA quick_check(1)").fetchall()
    if found != "ok":
        raise _damaged(path, str(found))
    _require_own(db, path)


def _require_own(db: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file, add what an older one lacks; refuse another program's, or a later version's."""
    application, version = (_pragma(db, name) for name in ("application_id", "user_version"))
    n_tables = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
    if (application, version) == (0, 0) and not n_tables:
        _bring_up(db, _TABLES, 1)
    elif application != FORMAT or not 1 <= version <= VERSION:
        raise UsageError(
            f"{path} is a database of another program or version; expected one of jobs.",
            next_step="Give another path with --jobs; a new file is made there.",
        )
    for after in range(_pragma(db, "user_version") + 1, VERSION + 1):
        _bring_up(db, _SINCE[after], after)


def _bring_up(db: sqlite3.Connection, statements: tuple[str, ...], version: int) -> None:
    """Do all of it, or nothing."""
    with db:
        db.execute("BEGIN")
        for statement in statements:
            db.execute(statement)
        db.execute(f"PRAGMA application_id={FORMAT}")
        db.execute(f"PRAGMA user_version={version}")


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


# --- what is said -------------------------------------------------------------------------------------


_REASONS: Mapping[int, tuple[str, str]] = {
    sqlite3.SQLITE_FULL: ("the disk is full", "Free some space; jobs that were taken are all there."),
    sqlite3.SQLITE_IOERR: ("the disk does not take or give it", "Look at the disk; it may be full."),
    sqlite3.SQLITE_READONLY: ("it may not be written", "Give a path with --jobs that you may write to."),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "Give a path with --jobs that you may write to."),
}


def explained(error: sqlite3.Error, path: Path) -> StorageError | UsageError:
    """Return what SQLite said, in words for whoever keeps the server."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says more than anybody can act on
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(path, str(error))
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return UsageError(
            f"The file of jobs {path} is in use by another process.",
            next_step="Stop the other server, or give each its own file with --jobs.",
        )
    reason, step = _REASONS.get(code, (str(error), "Look at the disk and the path."))
    return StorageError(f"Cannot use the file of jobs {path}: {reason}.", next_step=step)


def _damaged(path: Path, reason: Any) -> StorageError:
    return StorageError(
        f"The file of jobs {path} is damaged: {reason}.",
        next_step=f"Move it away, and what is named {path.name}-wal or {path.name}-journal; the next start makes anew.",
    )
