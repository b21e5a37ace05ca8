"""Jobs as clients see them: one of them, a page of a list, and what may be asked of a list. It knows no store.

What is at work is shown as far as it is now; all else as it is kept.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import parse_qsl

from topwork.serving.http.messages import dumps
from topwork.serving.http.refusals import Refusal
from topwork.serving.jobs.records import MOST_LISTED, STATUSES, Page, StoredJob, Wanted

if TYPE_CHECKING:
    from topwork.contracts import Json
    from topwork.serving.jobs.work import Run

    RunOf: TypeAlias = Callable[[str], Run | None]

__all__ = ["CURSOR", "MOST", "listed", "moment", "shown", "wanted"]

CURSOR: Final = "[0-9a-f]{48}"
"""Where a page ends: when its last job was made, as the eight bytes of a float, and its id."""

MOST: Final = 100
"""Jobs of a page."""

_LIMIT = re.compile("0{0,9}[1-9][0-9]{0,2}", re.ASCII)
_ASKED: Final = ("status", "limit", "cursor")


def shown(job: StoredJob, run_of: RunOf) -> bytes:
    """Return a job as JSON; its answer is JSON already, and may be long."""
    answer = job.answer or b"null"
    result, error = (answer, b"null") if job.status == "done" else (b"null", answer)
    return dumps(_head(job, run_of))[:-1] + b',"result":' + result + b',"error":' + error + b"}"


def listed(page: Page, run_of: RunOf) -> bytes:
    """Return some jobs of a list as JSON, with whose each is and where the next page begins."""
    jobs: list[Json] = [{**_head(job, run_of), "owner": job.owner} for job in page.jobs]
    return dumps({"jobs": jobs, "next": _cursor(page.jobs) if page.has_more else None})


def _head(job: StoredJob, run_of: RunOf) -> dict[str, Json]:
    run = run_of(job.id) if job.status == "running" else None
    progress = job.progress if run is None else run.progress
    per_second = None if run is None else run.pace.per_second()
    return {
        "id": job.id,
        "model": job.model,
        "status": job.status,
        "created": moment(job.created_s),
        "ended": None if job.ended_s is None else moment(job.ended_s),
        "n_inputs": progress.n_inputs,
        "n_done": progress.n_done,
        "n_failed": progress.n_failed,
        "per_second": per_second,
        "seconds_left": progress.seconds_left(per_second),
    }


def moment(seconds: float) -> str:
    """Return a time as RFC 3339 has it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- what is asked of a list ----------------------------------------------------------------------------


def wanted(query: str, owner: str | None) -> Wanted:
    """Read what stands behind the question mark; ``owner`` is whose jobs may be shown, None for everybody's.

    Raises
    ------
    Refusal
        400: it is nothing that a list understands.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    found = dict(pairs)
    if len(found) < len(pairs) or not set(found) <= set(_ASKED):
        names = ", ".join(name for name, _ in pairs)[:200]
        raise _odd(f"the parameters {names!r}", f"{', '.join(_ASKED)}, each once at most")
    status, limit, cursor = (found.get(name) for name in _ASKED)
    if status is not None and status not in STATUSES:
        raise _odd(f"the status {status[:50]!r}", ", ".join(STATUSES))
    if limit is not None and not (_LIMIT.fullmatch(limit) and int(limit) <= MOST):
        raise _odd(f"the limit {limit[:50]!r}", f"a whole number from 1 to {MOST}")
    if cursor is not None and not re.fullmatch(CURSOR, cursor, re.ASCII):
        raise _odd(f"the cursor {cursor[:100]!r}", "what stood under next of the page before")
    return Wanted(owner, status, _place(cursor), int(limit or MOST_LISTED))


def _odd(got: str, expected: str) -> Refusal:
    return Refusal(
        "bad_request",
        f"The list was asked for with {got}; expected {expected}.",
        next_step="Ask with ?status=…&limit=…&cursor=…, each of which may be left out.",
    )


def _cursor(jobs: Sequence[StoredJob]) -> str:
    return struct.pack(">d", jobs[-1].created_s).hex() + jobs[-1].id


def _place(cursor: str | None) -> tuple[float, str] | None:
    if cursor is None:
        return None
    (created_s,) = struct.unpack(">d", bytes.fromhex(cursor[:16]))
    return created_s, cursor[16:]
