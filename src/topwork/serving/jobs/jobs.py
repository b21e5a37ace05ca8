"""Jobs: a request that is answered later. POST gives an id at once; status and result are had by it.

It knows no task and no SQL: what is kept is in `store`, who works is in `work`, what clients see in
`views`, and what is told to others goes through `telling`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from topwork.errors import TopworkError, UsageError
from topwork.serving.batching.work import in_thread
from topwork.serving.http.bodies import Unreadable
from topwork.serving.http.messages import Request, Response, json_response
from topwork.serving.http.refusals import Refusal
from topwork.serving.http.routes import Route
from topwork.serving.jobs.batches import BATCH_TYPE, MAX_ORDER_BYTES, Batches
from topwork.serving.jobs.records import Bounds, Kind, NewJob, StoredJob
from topwork.serving.jobs.schemas import Offer
from topwork.serving.jobs.store import Clerk, JobStore
from topwork.serving.jobs.telling import Teller
from topwork.serving.jobs.views import listed, shown, wanted
from topwork.serving.jobs.work import JobWork, patiently
from topwork.serving.protocols.prediction import received

if TYPE_CHECKING:
    from topwork.serving.batching.gate import ByteBudget
    from topwork.serving.hosting import Hosted, Models
    from topwork.serving.jobs.webhooks import Webhooks

__all__ = ["Counts", "Jobs", "Tempo"]

T = TypeVar("T")
LOG = logging.getLogger("topwork.serving")
N_READING: Final = 2
"""Bodies that are taken apart at once before they are kept."""

KINDS: Final[tuple[Kind, ...]] = ("inputs", "files")
REPEAT_HEADER, HOOK_HEADER = "idempotency-key", "x-webhook-url"
_REPEAT_KEY = re.compile("[!-~]{1,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tempo:
    """How often jobs are looked after, in seconds: expired ones, and what a full disk did not take."""

    expire_s: float = 30.0
    retry_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Counts:
    """What has happened since the start: ends of jobs by status, and outcomes of webhooks."""

    ended: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)


class Jobs:
    """The jobs of one server.

    Parameters
    ----------
    path
        Where they are kept.
    webhooks
        What may be told of their ends; None tells nobody.
    batches
        What batches there may be; None takes none.
    now
        Seconds since 1970.
    tempo
        How often they are looked after.
    open_store
        Opens what keeps them.

    Attributes
    ----------
    counts
        What has happened since the start.

    Raises
    ------
    StorageError, UsageError
        The file cannot be used.
    """

    _models: Models
    _budget: ByteBudget

    def __init__(
        self,
        path: Path,
        *,
        webhooks: Webhooks | None = None,
        batches: Batches | None = None,
        now: Callable[[], float] = time.time,
        tempo: Tempo | None = None,
        open_store: Callable[[Path, Callable[[], float]], JobStore] = lambda path, now: JobStore(
            path, now=now
        ),
    ) -> None:
        self._webhooks, self._batches, self._tempo = webhooks, batches, tempo or Tempo()
        self.counts = Counts()
        self._clerk = Clerk(partial(open_store, path, now))
        self._teller = None if webhooks is None else Teller(self._clerk, webhooks, self.counts.told, now=now)
        on_end = self._teller.wake if self._teller is not None else lambda: None
        self._work = JobWork(
            self._clerk, self.counts.ended, batches=batches, retry_s=self._tempo.retry_s, on_end=on_end
        )
        self._upkeep: asyncio.Task[None] | None = None
        self._reading = asyncio.Semaphore(N_READING)

    @property
    def offer(self) -> Offer:
        """What clients may ask for, for the description."""
        return Offer(webhooks=self._webhooks is not None, batches=self._batches is not None)

    @property
    def by_status(self) -> dict[str, int]:
        """How many jobs are kept of each status."""
        return dict(self._clerk.store.tally.by_status)

    @property
    def n_bytes(self) -> int:
        """How many bytes of bodies and answers are kept."""
        return self._clerk.store.tally.n_bytes

    def routes(self, models: Models, budget: ByteBudget) -> tuple[Route, ...]:
        """Return the routes, by which these models are asked."""
        self._models, self._budget = models, budget
        batches = (Route("POST", "/v1/models/{name}/batches", self._make_batch),)
        return (
            *(batches if self._batches is not None else ()),
            Route("POST", "/v1/models/{name}/jobs", self._make),
            Route("GET", "/v1/jobs", self._list, "own"),
            Route("GET", "/v1/jobs/{id}", self._show),
            Route("DELETE", "/v1/jobs/{id}", self._remove),
        )

    # --- its life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take up what is in line, and delete what has expired; needs a running event loop."""
        self._work.begin(self._models, self._bounds)
        self._upkeep = asyncio.create_task(self._look_after())
        if self._teller is not None:
            self._teller.start(lambda: self._models.named(None).limits.webhook_retry_s)

    async def stop(self) -> None:
        """Stop working; what is not over is taken up by the next start."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)
        await self._work.stop()
        if self._teller is not None:
            await self._teller.stop()
        with suppress(TopworkError):  # the next start finds them as after a kill
            await self._clerk.ask(JobStore.give_back)
        await asyncio.to_thread(self._clerk.close)

    async def _look_after(self) -> None:
        retry_s = self._tempo.retry_s
        for model in await patiently(self._clerk, JobStore.models, retry_s):
            for kind in KINDS:
                self._work.work_for(model, kind)
        while True:
            keep_s = self._bounds().keep_s
            await patiently(self._clerk, partial(JobStore.expire, keep_s=keep_s), retry_s)
            await asyncio.sleep(min(self._tempo.expire_s, keep_s))

    def _bounds(self) -> Bounds:
        limits = self._models.named(None).limits
        return Bounds(
            limits.max_jobs, limits.max_stored_bytes, limits.keep_jobs_s, key_share=limits.max_key_share
        )

    # --- handlers ---------------------------------------------------------------------------------------

    async def _make(self, request: Request, name: str) -> Response:
        hosted = self._models.named(name)
        hosted.require_ready()
        return await self._kept(await self._wanted(hosted, request, name), "inputs")

    async def _make_batch(self, request: Request, name: str) -> Response:
        hosted, batches = self._models.named(name), self._batches
        assert batches is not None, "there is no such route"
        hosted.require_ready()
        repeat_key, hook = _repeat_key(request), self._hook(request)
        _require_json(request)
        body = await request.body.read(
            MAX_ORDER_BYTES, timeout_s=hosted.limits.body_timeout_s, reserve=lambda _: None
        )
        async with self._reading:
            order = await in_thread(partial(batches.order, body), "topwork-batch-order")
        new = NewJob(request.owner, name, BATCH_TYPE, order.to_json(), 0, hook, repeat_key)
        return await self._kept(new, "files")

    async def _kept(self, new: NewJob, kind: Kind) -> Response:
        bounds = self._bounds()
        job = await self._asked(lambda store: store.make(new, bounds))
        self._work.work_for(new.model, kind)
        return self._told(job, 202, {"location": f"/v1/jobs/{job.id}"})

    def _told(self, job: StoredJob, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
        return Response(status, "application/json", shown(job, self._work.run_of), headers or {})

    async def _wanted(self, hosted: Hosted, request: Request, name: str) -> NewJob:
        """Read a request to its end, and refuse what would be refused at once were it answered now."""
        repeat_key, hook = _repeat_key(request), self._hook(request)
        reader, body = await received(hosted, request, self._budget)
        async with self._reading:
            inputs = await in_thread(partial(reader.read, body), "topwork-job-body")
        if len(inputs) == 1 and isinstance(inputs[0], Unreadable):
            problem, _, step = inputs[0].problem.partition("\n")
            raise Refusal("bad_input", problem, next_step=step)
        content_type = request.headers.get("content-type", "")
        return NewJob(request.owner, name, content_type, body, len(inputs), hook, repeat_key)

    def _hook(self, request: Request) -> str | None:
        url = request.headers.get(HOOK_HEADER)
        if url is None:
            return None
        if self._webhooks is None:
            raise Refusal(
                "bad_request", "This server sends no webhooks.", next_step="Ask for the job by its id."
            )
        try:
            self._webhooks.target(url)
        except UsageError as error:
            raise Refusal("bad_request", error.problem, next_step=error.next_step) from error
        return url

    async def _show(self, request: Request, name: str) -> Response:
        return self._told(_there(await self._asked(lambda store: store.find(name, request.owner)), name))

    async def _list(self, request: Request) -> Response:
        asked = wanted(request.query, None if request.is_admin else request.owner)
        page = await self._asked(lambda store: store.page(asked))
        return Response(200, "application/json", listed(page, self._work.run_of))

    async def _remove(self, request: Request, name: str) -> Response:
        job = _there(await self._asked(lambda store: store.remove(name, request.owner)), name)
        self._work.cancel(job.id)
        is_over = job.status in ("done", "failed")
        self.counts.ended["cancelled"] += not is_over
        return json_response({"id": job.id, "status": "deleted" if is_over else "cancelled"})

    async def _asked(self, call: Callable[[JobStore], T]) -> T:
        """Ask the store for a client, who is told in general words what the log has in full."""
        try:
            return await self._clerk.ask(call)
        except Refusal:
            raise
        except TopworkError as error:
            LOG.error("a job could not be kept or read: %s", error)  # noqa: TRY400 - the text says all there is
            raise Refusal(
                "unavailable",
                "The server cannot keep or read jobs now; nothing was changed.",
                next_step="Try again later; the operator finds the reason in the server's log.",
                headers={"retry-after": "60"},
            ) from None


# --- what is read and said ----------------------------------------------------------------------------


def _repeat_key(request: Request) -> str | None:
    given = request.headers.get(REPEAT_HEADER)
    if given is not None and not _REPEAT_KEY.fullmatch(given):
        raise Refusal(
            "bad_request",
            f"The header Idempotency-Key is {given[:50]!r}; expected 1 to 200 visible characters of ASCII.",
            next_step="Send a random one, such as a UUID, for each new request.",
        )
    return given


def _require_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refusal(
            "unsupported_media_type",
            f"The request's content type is {media_type[:100]!r}; a batch is asked for in application/json.",
            next_step='Send {"input": "in.jsonl", "output": "out.jsonl"}.',
        )


def _there(job: StoredJob | None, name: str) -> StoredJob:
    if job is None:
        raise Refusal(
            "not_found",
            f"There is no job {name[:100]!r}.",
            next_step="It may have expired; jobs are kept for a time after their end.",
        )
    return job
