"""Jobs on the disk: made, found, listed, taken, ended, told of, expired. It knows no HTTP and no model.

What a client was told is on the disk before: a job before its id, an answer before anybody reads it. A process that
was killed leaves jobs that were running; whoever opens the file next finds them in line again. So a job may be
computed more than once, and is answered once: only a job that is running can end, and it ends one time.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from topwork.serving.http.refusals import Refusal
from topwork.serving.jobs.batches import BATCH_TYPE
from topwork.serving.jobs.file import Connect, explained, open_file
from topwork.serving.jobs.progress import Progress
from topwork.serving.jobs.records import (
    Bounds,
    Due,
    Ending,
    Kind,
    NewJob,
    Page,
    Status,
    StoredJob,
    Taken,
    Wanted,
)

__all__ = ["Clerk", "JobStore"]

T = TypeVar("T")
MOST_ATTEMPTS: Final = 3
"""A job that was at work when its process ended is begun so many times; it may be what ended it."""

_HEAD = "id, owner, model, status, created_s, ended_s, n_inputs, n_done, n_failed"
_FIND = f"SELECT {_HEAD}, answer FROM jobs WHERE id=? AND owner=?"  # noqa: S608 - of names that stand here
_LIST = (
    f"SELECT {_HEAD} FROM jobs WHERE (:owner IS NULL OR owner=:owner) AND (:status IS NULL OR status=:status) "  # noqa: S608
    "AND (:at_s IS NULL OR (created_s, id) < (:at_s, :id)) ORDER BY created_s DESC, id DESC LIMIT :most"
)
_IN_LINE = "status='queued' AND model=:model AND (content_type=:batch) = :is_batch"
_OWNERS = f"SELECT owner, MIN(number) FROM jobs WHERE {_IN_LINE} GROUP BY owner"  # noqa: S608
_AT_WORK = (
    "SELECT owner FROM jobs WHERE status='running' AND model=:model AND (content_type=:batch) = :is_batch "
    "GROUP BY owner HAVING COUNT(*) >= :most"
)
_TAKE = (
    "SELECT id, owner, content_type, body, attempts + 1, n_inputs, n_done, n_failed FROM jobs WHERE number=?"
)
_NOTE = "UPDATE jobs SET n_inputs=?, n_done=?, n_failed=? WHERE id=?"
_END = (
    "UPDATE jobs SET status=:status, answer=:answer, body=NULL, ended_s=:now, "
    "hook_due_s=CASE WHEN hook IS NULL THEN NULL ELSE :now END WHERE id=:id AND status=:before"
)
"""Ends a job of the status ``before``; its body is not needed any more."""


@dataclass(slots=True)
class _Tally:
    """How many jobs there are of each status, and their bytes."""

    by_status: Mapping[str, int] = field(default_factory=dict)
    n_bytes: int = 0


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
        self, path: Path, *, now: Callable[[], float] = time.time, connect: Connect | None = None
    ) -> None:
        self.path, self._now = path, now
        self.tally = _Tally()
        self._n_taken = 0
        self._turns: dict[tuple[str, Kind, str], int] = {}
        self._db = open_file(path, connect)
        try:
            with self._db:
                self._take_up()
            self._count()
        except BaseException as error:
            self._db.close()
            if isinstance(error, sqlite3.Error):
                raise explained(error, path) from error
            raise

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
        self._require_room(job, bounds)
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
        return StoredJob(name, job.owner, job.model, "queued", created_s, None, Progress(job.n_inputs))

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

    def _require_room(self, job: NewJob, bounds: Bounds) -> None:
        n_jobs, held = sum(self.tally.by_status.values()), self.tally.n_bytes
        if n_jobs >= bounds.max_jobs or held + len(job.body) > bounds.max_bytes:
            raise _full(f"The server keeps {n_jobs:,} jobs of {held:,} bytes; it takes no more now.")
        if not job.owner:  # where there are no keys nobody can be told from another
            return
        n_jobs, held = self._held_by(job.owner)
        own = bounds.of_key()
        if n_jobs >= own.max_jobs or held + len(job.body) > own.max_bytes:
            raise _full(
                f"The server keeps {n_jobs:,} jobs of {held:,} bytes of the key {job.owner}; of one key it keeps at "
                f"most {own.max_jobs:,} jobs of {own.max_bytes:,} bytes, so that there is room for others."
            )

    def _held_by(self, owner: str) -> tuple[int, int]:
        """Return how many jobs of an owner are kept, and their bytes."""
        row = self._db.execute(
            "SELECT COUNT(*), TOTAL(LENGTH(body)), TOTAL(LENGTH(answer)) FROM jobs WHERE owner=?", (owner,)
        ).fetchone()
        return row[0], int(row[1] + row[2])

    def find(self, name: str, owner: str) -> StoredJob | None:
        """Return a job of this owner; None where there is none, or where it is another's."""
        row = self._db.execute(_FIND, (name, owner)).fetchone()
        return None if row is None else _stored(row)

    def page(self, wanted: Wanted) -> Page:
        """Return jobs, the newest first, without their answers."""
        at_s, name = wanted.before or (None, None)
        asked = {"owner": wanted.owner, "status": wanted.status, "at_s": at_s, "id": name}
        rows = self._db.execute(_LIST, {**asked, "most": wanted.most + 1}).fetchall()
        return Page(tuple(map(_stored, rows[: wanted.most])), has_more=len(rows) > wanted.most)

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

    def take(self, model: str, kind: Kind = "inputs", most: int | None = None) -> Taken | None:
        """Return a job of a model whose turn it is, which is running from now on; None without one.

        Owners have turns, and each gives the job of theirs that has waited the longest.

        Parameters
        ----------
        most
            How many of one owner may be running; None for any number.
        """
        number = self._first(model, kind, most)
        if number is None:
            return None
        name, owner, content_type, body, attempts, *counts = self._db.execute(_TAKE, (number,)).fetchone()
        with self._db:
            self._db.execute("UPDATE jobs SET status='running', attempts=attempts+1 WHERE id=?", (name,))
        self._n_taken += 1
        self._turns[model, kind, owner] = self._n_taken
        self._count()
        return Taken(name, owner, content_type, body, attempts, Progress(*counts))

    def _first(self, model: str, kind: Kind, most: int | None) -> int | None:
        """Return the number of the job whose turn it is: of the owner whose last turn is the longest ago."""
        asked: dict[str, Any] = {"model": model, "batch": BATCH_TYPE, "is_batch": kind == "files"}
        found = self._db.execute(_OWNERS, asked).fetchall()
        asked["most"] = most
        at_work = {owner for (owner,) in self._db.execute(_AT_WORK, asked)} if most is not None else set()
        free = [(owner, number) for owner, number in found if owner not in at_work]
        turns = [(self._turns.get((model, kind, owner), 0), number) for owner, number in free]
        return min(turns)[1] if turns else None

    def note(self, name: str, progress: Progress) -> None:
        """Keep how far a job is."""
        with self._db:
            self._note(name, progress)

    def _note(self, name: str, progress: Progress) -> None:
        self._db.execute(_NOTE, (progress.n_inputs, progress.n_done, progress.n_failed, name))

    def finish(self, name: str, ending: Ending, bounds: Bounds) -> bool:
        """Keep how a running job ended, and its body no longer; False where it is not running any more.

        An answer for which there is no room fails its job.
        """
        row = self._db.execute("SELECT LENGTH(body) FROM jobs WHERE id=?", (name,)).fetchone()
        others = self.tally.n_bytes - (row[0] or 0 if row else 0)
        if others + len(ending.answer) > bounds.max_bytes:
            problem = f"The answer has {len(ending.answer):,} bytes, for which there is no room."
            refusal = Refusal("too_large", problem, next_step="Send fewer inputs.")
            ending = Ending("failed", _as_json(refusal), ending.progress)
        with self._db:
            is_ended = self._end(name, ending, before="running")
            if is_ended and ending.progress is not None:
                self._note(name, ending.progress)
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
            raise explained(error, self.store.path) from error

    def close(self) -> None:
        """Close the store; blocks while it is busy."""
        self._pool.submit(self.store.close).result()
        self._pool.shutdown()


# --- what is said -------------------------------------------------------------------------------------


def _stored(row: Sequence[Any]) -> StoredJob:
    """Return a job of a row that begins with ``_HEAD``, with its answer where that follows."""
    name, owner, model, status, created_s, ended_s, n_inputs, n_done, n_failed, *answer = row
    progress = Progress(n_inputs, n_done, n_failed)
    return StoredJob(name, owner, model, status, created_s, ended_s, progress, *answer)


def _as_json(refusal: Refusal) -> bytes:
    return json.dumps(refusal.body()["error"]).encode()


def _full(problem: str) -> Refusal:
    return Refusal(
        "busy",
        problem,
        next_step="Fetch results and DELETE their jobs, or try again later.",
        headers={"retry-after": "60"},
    )
