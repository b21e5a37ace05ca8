"""Jobs on the disk: one SQLite file that one thread of one process uses. It knows no HTTP and no model.

What a client was told is on the disk before: a job before its id, an answer before anybody reads it. A process that
was killed leaves jobs that were running; whoever opens the file next finds them in line again. So a job may be
computed more than once, and is answered once: only a job that is running can end, and it ends one time.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar

from topwork.errors import StorageError, UsageError
from topwork.serving.refusals import Refusal
from topwork.storage import explain

__all__ = ["Bounds", "Clerk", "Due", "Ending", "JobStore", "NewJob", "Status", "StoredJob", "Taken"]

T = TypeVar("T")
Status: TypeAlias = Literal["queued", "running", "done", "failed"]
Connect: TypeAlias = Callable[[str], sqlite3.Connection]

MOST_ATTEMPTS: Final = 3
"""A job that was at work when its process ended is begun so many times; it may be what ended it."""

FORMAT: Final = 0x746A_6F62
"""SQLite's application_id of these files, "tjob"."""

VERSION: Final = 1
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
_FIND = (
    "SELECT id, owner, model, status, created_s, ended_s, n_inputs, answer FROM jobs WHERE id=? AND owner=?"
)
_END = (
    "UPDATE jobs SET status=:status, answer=:answer, body=NULL, ended_s=:now, "
    "hook_due_s=CASE WHEN hook IS NULL THEN NULL ELSE :now END WHERE id=:id AND status=:before"
)
"""Ends a job of the status ``before``; its body is not needed any more."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a client asks for.

    Attributes
    ----------
    owner
        Prefix of the key that asks; empty where no keys are asked for.
    webhook
        Where to tell of its end; None for nowhere.
    repeat_key
        The client's own name of this request, by which it may send it again; None without one.
    """

    owner: str
    model: str
    content_type: str
    body: bytes
    n_inputs: int
    webhook: str | None = None
    repeat_key: str | None = None

    def fingerprint(self) -> str:
        """Return what two requests have in common that ask for the same."""
        digest = hashlib.sha256()
        for part in (self.model, self.content_type, self.webhook or ""):
            digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
        digest.update(self.body)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as its owner may see it.

    Attributes
    ----------
    created_s, ended_s
        Seconds since 1970; the latter None while it is not over.
    answer
        JSON: the result of a job that is done, the error of one that failed; None before.
    """

    id: str
    owner: str
    model: str
    status: Status
    created_s: float
    ended_s: float | None
    n_inputs: int
    answer: bytes | None


@dataclass(frozen=True, slots=True)
class Taken:
    """A job that is to be worked on now, for which time."""

    id: str
    content_type: str
    body: bytes
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ended: its result or its error, as JSON."""

    status: Literal["done", "failed"]
    answer: bytes


@dataclass(frozen=True, slots=True)
class Due:
    """An end of a job of which somebody is to be told."""

    id: str
    model: str
    status: Status
    ended_s: float
    url: str
    tries: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be kept: jobs, and bytes of their bodies and answers together; for ``keep_s`` seconds."""

    max_jobs: int
    max_bytes: int
    keep_s: float


@dataclass(slots=True)
class _Tally:
    """How many jobs there are of each status, and their bytes."""

    by_status: Mapping[str, int] = field(default_factory=dict)
    n_bytes: int = 0


def _plain(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_PATIENCE_S, check_same_thread=False)


class JobStore:
    """The file; use it from one thread.

    Parameters
    ----------
    path
        Where it is; made where there is none, its owner's alone.
    now
        Seconds since 1970.
    connect
        Opens the file.

    Attributes
    ----------
    tally
        How many jobs there are of each status and their bytes; may be read from any thread.

    Raises
    ------
    StorageError
        It is damaged, or cannot be read or written.
    UsageError
        Another process uses it, or it is another program's.
    """

    def __init__(
        self, path: Path, *, now: Callable[[], float] = time.time, connect: Connect = _plain
    ) -> None:
        self.path, self._now = path, now
        self.tally = _Tally()
        _make_private(path)
        try:
            self._db = connect(str(path))
        except sqlite3.Error as error:
            raise _explained(error, path) from error
        try:
            self._open()
        except BaseException as error:
            self._db.close()
            if isinstance(error, sqlite3.Error):
                raise _explained(error, path) from error
            raise

    def _open(self) -> None:
        self._db.execute(
            "PRAGMA locking_mode=EXCLUSIVE"
        )  # another process is refused for as long as this one lives
        self._db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA secure_delete=ON")  # what has expired is overwritten, not only forgotten
        [(found,)] = self._db.execute("PRAGMA quick_check(1)").fetchall()
        if found != "ok":
            raise _damaged(self.path, str(found))
        self._require_own()
        with self._db:
            self._take_up()
        self._count()

    def _require_own(self) -> None:
        """Make the tables of a new file; refuse one that is another program's, or of a later version."""
        found = [self._pragma(name) for name in ("application_id", "user_version")]
        n_tables = self._db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
        if found == [0, 0] and not n_tables:
            with self._db:
                self._db.execute("BEGIN")
                for statement in _TABLES:
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id={FORMAT}")
                self._db.execute(f"PRAGMA user_version={VERSION}")
        elif found != [FORMAT, VERSION]:
            raise UsageError(
                f"{self.path} is a database of another program or version; expected one of jobs.",
                next_step="Give another path with --jobs; a new file is made there.",
            )

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    def _take_up(self) -> None:
        """Put jobs in line again that were running when their process ended; give up what was begun too often."""
        tired = self._db.execute(
            "SELECT id FROM jobs WHERE status='running' AND attempts>=?", (MOST_ATTEMPTS,)
        ).fetchall()
        problem = f"The server ended {MOST_ATTEMPTS} times while it worked on this job."
        for (name,) in tired:
            self._end(name, Ending("failed", _as_json(Refusal("internal", problem))), before="running")
        self._db.execute("UPDATE jobs SET status='queued' WHERE status='running'")

    # --- making, finding, removing --------------------------------------------------------------------

    def make(self, job: NewJob, bounds: Bounds) -> StoredJob:
        """Keep a new job, and return it; of a request that is sent again, the job that it made.

        Raises
        ------
        Refusal
            429, there is no room; 409, the repeat key stands for another request.
        """
        if (same := self._made_before(job)) is not None:
            return same
        self._require_room(len(job.body), bounds)
        created_s, name = self._now(), secrets.token_hex(16)
        with self._db:
            self._db.execute(
                "INSERT INTO jobs (id, owner, model, status, created_s, content_type, body, n_inputs, repeat_key,"
                " fingerprint, hook) VALUES (?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(name, job.owner, job.model, created_s, job.content_type, job.body, job.n_inputs),
                    *(job.repeat_key, job.fingerprint(), job.webhook),
                ),
            )
        self._count()
        return StoredJob(name, job.owner, job.model, "queued", created_s, None, job.n_inputs, None)

    def _made_before(self, job: NewJob) -> StoredJob | None:
        if job.repeat_key is None:
            return None
        row = self._db.execute(
            "SELECT id, fingerprint FROM jobs WHERE owner=? AND repeat_key=?", (job.owner, job.repeat_key)
        ).fetchone()
        if row is None:
            return None
        if row[1] != job.fingerprint():
            raise Refusal(
                "conflict",
                "This Idempotency-Key was used for another request.",
                next_step="Use a new key for each request, and the same one only to send the same again.",
            )
        return self.find(row[0], job.owner)

    def _require_room(self, n_bytes: int, bounds: Bounds) -> None:
        n_jobs, held = sum(self.tally.by_status.values()), self.tally.n_bytes
        if n_jobs >= bounds.max_jobs or held + n_bytes > bounds.max_bytes:
            raise Refusal(
                "busy",
                f"The server keeps {n_jobs:,} jobs of {held:,} bytes; it takes no more now.",
                next_step="Fetch results and DELETE their jobs, or try again later.",
                headers={"retry-after": "60"},
            )

    def find(self, name: str, owner: str) -> StoredJob | None:
        """Return a job of this owner; None where there is none, or where it is another's."""
        row = self._db.execute(_FIND, (name, owner)).fetchone()
        return None if row is None else StoredJob(*row)

    def remove(self, name: str, owner: str) -> StoredJob | None:
        """Delete a job of this owner, whatever its status, and return it as it was; None where there is none."""
        found = self.find(name, owner)
        if found is not None:
            with self._db:
                self._db.execute("DELETE FROM jobs WHERE id=?", (name,))
            self._tidy()
        return found

    # --- working --------------------------------------------------------------------------------------

    def models(self) -> Sequence[str]:
        """Return the names of the models for which jobs wait."""
        return [name for (name,) in self._db.execute("SELECT DISTINCT model FROM jobs WHERE status='queued'")]

    def take(self, model: str) -> Taken | None:
        """Return the job of a model that has waited the longest, which is running from now on; None without one."""
        row = self._db.execute(
            "SELECT id, content_type, body, attempts + 1 FROM jobs WHERE status='queued' AND model=? "
            "ORDER BY number LIMIT 1",
            (model,),
        ).fetchone()
        if row is None:
            return None
        with self._db:
            self._db.execute("UPDATE jobs SET status='running', attempts=attempts+1 WHERE id=?", (row[0],))
        self._count()
        return Taken(*row)

    def finish(self, name: str, ending: Ending, bounds: Bounds) -> bool:
        """Keep how a running job ended, and its body no longer; False where it is not running any more.

        An answer for which there is no room fails its job.
        """
        row = self._db.execute("SELECT LENGTH(body) FROM jobs WHERE id=?", (name,)).fetchone()
        others = self.tally.n_bytes - (row[0] or 0 if row else 0)
        if others + len(ending.answer) > bounds.max_bytes:
            problem = f"The answer has {len(ending.answer):,} bytes, for which there is no room."
            ending = Ending("failed", _as_json(Refusal("too_large", problem, next_step="Send fewer inputs.")))
        with self._db:
            is_ended = self._end(name, ending, before="running")
        self._count()
        return is_ended

    def _end(self, name: str, ending: Ending, *, before: Status) -> bool:
        """Have a job end that has the status ``before``; within a transaction."""
        found = {"id": name, "before": before, "status": ending.status, "answer": ending.answer}
        return self._db.execute(_END, {**found, "now": self._now()}).rowcount == 1

    def give_back(self) -> None:
        """Put running jobs in line again: the process ends in order, so that this attempt does not count."""
        with self._db:
            self._db.execute("UPDATE jobs SET status='queued', attempts=attempts-1 WHERE status='running'")
        self._count()

    def expire(self, keep_s: float) -> int:
        """Delete jobs that ended ``keep_s`` seconds ago, fail those that wait as long; return how many in all."""
        since_s = self._now() - keep_s
        late = _as_json(Refusal("deadline_exceeded", f"The job waited for more than {keep_s:g} s."))
        with self._db:
            n_gone = self._db.execute("DELETE FROM jobs WHERE ended_s<=?", (since_s,)).rowcount
            waiting = self._db.execute(
                "SELECT id FROM jobs WHERE status='queued' AND created_s<=?", (since_s,)
            ).fetchall()
            for (name,) in waiting:
                self._end(name, Ending("failed", late), before="queued")
        if n_gone + len(waiting):
            self._tidy()
        return n_gone + len(waiting)

    def _tidy(self) -> None:
        """Take what was deleted out of the file, and out of its log."""
        self._count()
        self._db.execute("PRAGMA incremental_vacuum").fetchall()
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _count(self) -> None:
        rows = self._db.execute(
            "SELECT status, COUNT(*), TOTAL(LENGTH(body)), TOTAL(LENGTH(answer)) FROM jobs GROUP BY status"
        ).fetchall()
        self.tally = _Tally({row[0]: row[1] for row in rows}, int(sum(row[2] + row[3] for row in rows)))

    # --- telling of ends ------------------------------------------------------------------------------

    def due(self, most: int) -> Sequence[Due]:
        """Return the ends of which it is time to tell, the earliest first."""
        rows = self._db.execute(
            "SELECT id, model, status, ended_s, hook, hook_tries FROM jobs WHERE hook_due_s<=? "
            "ORDER BY hook_due_s LIMIT ?",
            (self._now(), most),
        )
        return [Due(*row) for row in rows.fetchall()]

    def next_due_s(self) -> float | None:
        """Return in how many seconds it is time to tell of an end; None where nobody is to be told."""
        due_s = self._db.execute("SELECT MIN(hook_due_s) FROM jobs").fetchone()[0]
        return None if due_s is None else max(0.0, due_s - self._now())

    def told(self, name: str, again_s: float | None) -> None:
        """Note a try to tell of an end: it is made again in ``again_s`` seconds; never where that is None."""
        due_s = None if again_s is None else self._now() + again_s
        with self._db:
            self._db.execute(
                "UPDATE jobs SET hook_due_s=?, hook_tries=hook_tries+1 WHERE id=?", (due_s, name)
            )

    def close(self) -> None:
        """Close the file."""
        self._db.close()


class Clerk:
    """The one thread that uses a store: it opens it, does what it is asked in order, and closes it.

    Raises
    ------
    StorageError, UsageError
        As of `JobStore`.
    """

    def __init__(self, open_store: Callable[[], JobStore]) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="topwork-jobs")
        try:
            self.store = self._pool.submit(open_store).result()
        except BaseException:
            self._pool.shutdown()
            raise

    async def ask(self, call: Callable[[JobStore], T]) -> T:
        """Return what ``call`` returns.

        Raises
        ------
        StorageError
            The file cannot be read or written; what was asked for has not been done.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._done, call)

    def _done(self, call: Callable[[JobStore], T]) -> T:
        try:
            return call(self.store)
        except sqlite3.Error as error:
            raise _explained(error, self.store.path) from error

    def close(self) -> None:
        """Close the store; blocks while it is busy."""
        self._pool.submit(self.store.close).result()
        self._pool.shutdown()


# --- what is said -------------------------------------------------------------------------------------


def _as_json(refusal: Refusal) -> bytes:
    return json.dumps(refusal.body()["error"]).encode()


def _make_private(path: Path) -> None:
    """Make the file where there is none, so that SQLite takes over its mode for its log as well."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise explain(error, path) from error


_REASONS: Mapping[int, tuple[str, str]] = {
    sqlite3.SQLITE_FULL: ("the disk is full", "Free some space; jobs that were taken are all there."),
    sqlite3.SQLITE_IOERR: ("the disk does not take or give it", "Look at the disk; it may be full."),
    sqlite3.SQLITE_READONLY: ("it may not be written", "Give a path with --jobs that you may write to."),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "Give a path with --jobs that you may write to."),
}


def _explained(error: sqlite3.Error, path: Path) -> StorageError | UsageError:
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
        next_step=f"Move it away, with {path.name}-wal where that is there; the next start makes a new one.",
    )
