"""What is kept of a job, and what of it goes from hand to hand. It knows no SQL, no HTTP and no model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from topwork.serving.jobs.progress import Progress

__all__ = [
    "MOST_LISTED",
    "STATUSES",
    "Bounds",
    "Due",
    "Ending",
    "Kind",
    "NewJob",
    "Page",
    "Status",
    "StoredJob",
    "Taken",
    "Wanted",
]

Status: TypeAlias = Literal["queued", "running", "done", "failed"]
MOST_LISTED: Final = 20
"""Jobs of a page where nobody says how many."""

STATUSES: tuple[Status, ...] = ("queued", "running", "done", "failed")

Kind: TypeAlias = Literal["inputs", "files"]
"""Whether a job holds its inputs, or names files of them: a batch."""


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
    progress
        As far as it was when it was kept last; while it is at work, who works on it knows more.
    answer
        JSON: the result of a job that is done, the error of one that failed; None before.
    """

    id: str
    owner: str
    model: str
    status: Status
    created_s: float
    ended_s: float | None
    progress: Progress
    answer: bytes | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs a list is to show, the newest first.

    Attributes
    ----------
    owner
        Whose; None for everybody's.
    status
        Of which status; None for any.
    before
        When the last one of the page before was made, and its id; None for the first page.
    most
        How many at most.
    """

    owner: str | None
    status: Status | None = None
    before: tuple[float, str] | None = None
    most: int = MOST_LISTED


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs of a list, and whether more follow."""

    jobs: tuple[StoredJob, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """A job that is to be worked on now, for which time, and how far it was."""

    id: str
    owner: str
    content_type: str
    body: bytes
    attempts: int = 1
    progress: Progress = field(default_factory=Progress)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ended: its result or its error, as JSON; and how far it was, None where nobody has looked."""

    status: Literal["done", "failed"]
    answer: bytes
    progress: Progress | None = None


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
    """How much may be kept: jobs, and bytes of their bodies and answers together; for ``keep_s`` seconds.

    ``key_share`` is how much of both one key may have.
    """

    max_jobs: int
    max_bytes: int
    keep_s: float
    key_share: float = 1.0

    def of_key(self) -> Bounds:
        """Return what one key may have: one job at least."""
        max_jobs = max(1, int(self.max_jobs * self.key_share))
        return Bounds(max_jobs, int(self.max_bytes * self.key_share), self.keep_s)
