"""Ends of jobs are told to those who asked for it, again and again until they are taken or it is too late.

What is still to be told stands with the jobs on the disk, so a server that starts again goes on. It knows no HTTP and
no SQL.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final

from topwork.errors import TopworkError
from topwork.serving.batching.work import in_thread
from topwork.serving.http.messages import dumps
from topwork.serving.jobs.records import Due
from topwork.serving.jobs.store import Clerk
from topwork.serving.jobs.webhooks import Undelivered, Webhooks, read_secrets, signed

__all__ = ["Teller", "again_in_s"]

LOG = logging.getLogger("topwork.serving")
N_AT_ONCE: Final = 4
LONGEST_S: Final = 60.0
"""For one try, all in all; and between two looks at what is due."""

FIRST_AGAIN_S, LONGEST_AGAIN_S = 1.0, 300.0


class Teller:
    """Tells of ends.

    Parameters
    ----------
    clerk
        Who knows what is to be told.
    webhooks
        How, and to whom it may be.
    counts
        Where outcomes are counted: ``delivered``, ``retried``, ``given_up``.
    now
        Seconds since 1970.
    """

    def __init__(
        self, clerk: Clerk, webhooks: Webhooks, counts: Counter[str], *, now: Callable[[], float] = time.time
    ) -> None:
        self._clerk, self._webhooks, self._counts, self._now = clerk, webhooks, counts, now
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, patience_s: Callable[[], float]) -> None:
        """Begin; ``patience_s`` is for how long after its end a job is told of."""
        self._task = asyncio.create_task(self._tell(patience_s))

    def wake(self) -> None:
        """Look now: something has ended."""
        self._woken.set()

    async def stop(self) -> None:
        """Stop; what is not told yet is told after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _tell(self, patience_s: Callable[[], float]) -> None:
        while True:
            self._woken.clear()
            wait_s: float | None = LONGEST_S
            try:
                due = await self._clerk.ask(lambda store: store.due(N_AT_ONCE))
                await asyncio.gather(*(self._one(one, patience_s()) for one in due))
                wait_s = await self._clerk.ask(lambda store: store.next_due_s())
            except TopworkError as error:
                LOG.error("webhooks wait: %s", error)  # noqa: TRY400 - the text says all there is
            with suppress(TimeoutError):
                await asyncio.wait_for(
                    self._woken.wait(), LONGEST_S if wait_s is None else min(wait_s, LONGEST_S)
                )

    async def _one(self, due: Due, patience_s: float) -> None:
        again_s: float | None = None
        try:
            async with asyncio.timeout(LONGEST_S):
                await in_thread(partial(self._send, due), "topwork-webhook")
            outcome = "delivered"
        except Exception as error:
            again_s = again_in_s(due.tries)
            is_late = self._now() + again_s > due.ended_s + patience_s
            if is_late or (isinstance(error, Undelivered) and error.final):
                again_s = None
            outcome = "given_up" if again_s is None else "retried"
            LOG.warning(
                "the end of job %s was not told (%s): %s", due.id, outcome, error or "it took too long"
            )
        self._counts[outcome] += 1
        await self._clerk.ask(lambda store: store.told(due.id, again_s))

    def _send(self, due: Due) -> None:
        # Read again each time, so that a secret can be replaced while the server runs.
        secrets = read_secrets(self._webhooks.secret)
        body = _message(due)
        self._webhooks.send(due.url, signed(secrets, f"msg_{due.id}", int(self._now()), body), body)


def again_in_s(tries: int) -> float:
    """Return after how many seconds a message is sent again that was tried in vain ``tries`` times before this one."""
    return min(LONGEST_AGAIN_S, FIRST_AGAIN_S * 2.0 ** min(tries, 20))


def _message(due: Due) -> bytes:
    """Return what is told: that it is over, and where to ask; the result itself stays here."""
    ended = datetime.fromtimestamp(due.ended_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return dumps(
        {
            "type": f"job.{due.status}",
            "timestamp": ended,
            "data": {"id": due.id, "model": due.model, "status": due.status, "url": f"/v1/jobs/{due.id}"},
        }
    )
