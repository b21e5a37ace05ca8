"""Jobs: a request that is answered later. POST gives an id at once; status and result are had by it.

It knows no task and no SQL: what is kept is in `job_store`, what is told to others goes through `webhooks`.

Requests that somebody waits for go first. A job is worked on in slices of a few inputs, and each slice takes a place
only while no request wants one, and leaves another place free where a model has several. So a request waits for one
slice of one job at most, however many jobs there are; and jobs wait for as long as requests leave no room.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from topwork.errors import DataError, TopworkError, UsageError
from topwork.serving.answers import answered, predictions
from topwork.serving.batches import BATCH_TYPE, MAX_ORDER_BYTES, Batches, BatchOrder
from topwork.serving.bodies import Input, Unreadable, reader_for
from topwork.serving.job_schemas import Offer
from topwork.serving.job_store import Bounds, Clerk, Ending, JobStore, NewJob, StoredJob, Taken
from topwork.serving.messages import Request, Response, dumps, json_response
from topwork.serving.prediction import received, told
from topwork.serving.refusals import Refusal
from topwork.serving.routes import Route
from topwork.serving.telling import Teller
from topwork.serving.work import Job, in_thread

if TYPE_CHECKING:
    from topwork.contracts import Answer, Json, Servable
    from topwork.serving.gate import ByteBudget
    from topwork.serving.hosting import Hosted, Models
    from topwork.serving.webhooks import Webhooks

__all__ = ["Jobs", "Tempo"]

T = TypeVar("T")
LOG = logging.getLogger("topwork.serving")
SLICE: Final = 16
"""Inputs that are worked on before a request may go first: as many as a bundle runs together."""

N_READING: Final = 2
"""Bodies that are taken apart at once before they are kept."""

PATIENCE_S: Final = 5.0
"""How long the end of the server waits for a batch to stop."""

REPEAT_HEADER, HOOK_HEADER = "idempotency-key", "x-webhook-url"
_REPEAT_KEY = re.compile("[!-~]{1,200}", re.ASCII)


LOOK_S: Final = 0.01
"""How often a job looks whether requests leave a place."""


@dataclass(frozen=True, slots=True)
class Tempo:
    """How often jobs are looked after, in seconds: expired ones, and what a full disk did not take."""

    expire_s: float = 30.0
    retry_s: float = 5.0


@dataclass(slots=True)
class _Run:
    """A job that is at work now."""

    work: Job | None = None
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True
        if self.work is not None:
            self.work.cancel()


@dataclass(slots=True)
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
        open_store: Callable[[Path, Callable[[], float]], JobStore] = lambda path, now: JobStore(path, now=now),
    ) -> None:
        self._webhooks, self._batches, self._tempo = webhooks, batches, tempo or Tempo()
        self._threads: set[asyncio.Task[Mapping[str, Json]]] = set()
        self._clerk = Clerk(partial(open_store, path, now))
        self.counts = Counts()
        self._teller = None if webhooks is None else Teller(self._clerk, webhooks, self.counts.told, now=now)
        self._runs: dict[str, _Run] = {}
        self._runners: dict[str, set[asyncio.Task[None]]] = {}
        self._upkeep: asyncio.Task[None] | None = None
        self._reading = asyncio.Semaphore(N_READING)
        self._fresh: set[str] = set()

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
            Route("GET", "/v1/jobs/{id}", self._show),
            Route("DELETE", "/v1/jobs/{id}", self._remove),
        )

    # --- its life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take up what is in line, and delete what has expired; needs a running event loop."""
        self._upkeep = asyncio.create_task(self._look_after())
        if self._teller is not None:
            self._teller.start(lambda: self._models.named(None).limits.webhook_retry_s)

    async def stop(self) -> None:
        """Stop working; what is not over is taken up by the next start."""
        tasks = [task for several in self._runners.values() for task in several]
        tasks += [] if self._upkeep is None else [self._upkeep]
        for run in self._runs.values():
            run.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._threads:  # a batch ends at its next input, and what it has done is kept
            await asyncio.wait(self._threads, timeout=PATIENCE_S)
        if self._teller is not None:
            await self._teller.stop()
        with suppress(TopworkError):  # the next start finds them as after a kill
            await self._clerk.ask(lambda store: store.give_back())
        await asyncio.to_thread(self._clerk.close)

    async def _look_after(self) -> None:
        for model in await self._patiently(lambda store: store.models()):
            self._work_for(model)
        while True:
            keep_s = self._bounds().keep_s
            await self._patiently(partial(JobStore.expire, keep_s=keep_s))
            await asyncio.sleep(min(self._tempo.expire_s, keep_s))

    def _bounds(self) -> Bounds:
        limits = self._models.named(None).limits
        return Bounds(limits.max_jobs, limits.max_stored_bytes, limits.keep_jobs_s)

    async def _patiently(self, call: Callable[[JobStore], T]) -> T:
        """Ask the store again and again until it can: nothing is lost while the disk is full."""
        while True:
            try:
                return await self._clerk.ask(call)
            except TopworkError as error:
                LOG.error("%s It is tried again every %g s.", error, self._tempo.retry_s)  # noqa: TRY400
                await asyncio.sleep(self._tempo.retry_s)

    # --- handlers ---------------------------------------------------------------------------------------

    async def _make(self, request: Request, name: str) -> Response:
        hosted = self._models.named(name)
        hosted.require_ready()
        wanted = await self._wanted(hosted, request, name)
        bounds = self._bounds()
        job = await self._asked(lambda store: store.make(wanted, bounds))
        self._work_for(name)
        return Response(202, "application/json", _shown(job), {"location": f"/v1/jobs/{job.id}"})

    async def _make_batch(self, request: Request, name: str) -> Response:
        hosted, batches = self._models.named(name), self._batches
        assert batches is not None
        hosted.require_ready()
        repeat_key, hook = _repeat_key(request), await self._hook(request)
        _require_json(request)
        body = await request.body.read(
            MAX_ORDER_BYTES, timeout_s=hosted.limits.body_timeout_s, reserve=lambda _: None
        )
        async with self._reading:
            order = await in_thread(partial(batches.order, body), "topwork-batch-order")
        wanted = NewJob(request.owner, name, BATCH_TYPE, order.to_json(), 0, hook, repeat_key)
        bounds = self._bounds()
        job = await self._asked(lambda store: store.make(wanted, bounds))
        self._work_for(name)
        return Response(202, "application/json", _shown(job), {"location": f"/v1/jobs/{job.id}"})

    async def _wanted(self, hosted: Hosted, request: Request, name: str) -> NewJob:
        """Read a request to its end, and refuse what would be refused at once were it answered now."""
        repeat_key, hook = _repeat_key(request), await self._hook(request)
        reader, body = await received(hosted, request, self._budget)
        async with self._reading:
            inputs = await in_thread(partial(reader.read, body), "topwork-job-body")
        if len(inputs) == 1 and isinstance(inputs[0], Unreadable):
            problem, _, step = inputs[0].problem.partition("\n")
            raise Refusal("bad_input", problem, next_step=step)
        content_type = request.headers.get("content-type", "")
        return NewJob(request.owner, name, content_type, body, len(inputs), hook, repeat_key)

    async def _hook(self, request: Request) -> str | None:
        url = request.headers.get(HOOK_HEADER)
        if url is None:
            return None
        if self._webhooks is None:
            raise Refusal("bad_request", "This server sends no webhooks.", next_step="Ask for the job by its id.")
        try:
            self._webhooks.target(url)
        except UsageError as error:
            raise Refusal("bad_request", error.problem, next_step=error.next_step) from error
        return url

    async def _show(self, request: Request, name: str) -> Response:
        job = await self._asked(lambda store: store.find(name, request.owner))
        return Response(200, "application/json", _shown(_there(job, name)))

    async def _remove(self, request: Request, name: str) -> Response:
        job = _there(await self._asked(lambda store: store.remove(name, request.owner)), name)
        if (run := self._runs.get(job.id)) is not None:
            run.cancel()
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

    # --- working ----------------------------------------------------------------------------------------

    def _work_for(self, model: str) -> None:
        """Have the jobs of a model worked on, by as many at once as leave a place for requests."""
        with suppress(Refusal):  # a model that is gone has one runner, to say so
            self._begin(model, most_at_once(self._models.named(model)))
            return
        self._begin(model, 1)

    def _begin(self, model: str, n_most: int) -> None:
        runners = self._runners.setdefault(model, set())
        if len(runners) < n_most:
            runners.add(asyncio.create_task(self._work_through(model)))
        else:
            self._fresh.add(model)  # who has just seen an empty line looks once more

    async def _work_through(self, model: str) -> None:
        """Work on the jobs of a model until there are none."""
        try:
            while True:
                self._fresh.discard(model)
                taken = await self._patiently(lambda store: store.take(model))
                if taken is not None:
                    await self._work_on(model, taken)
                elif model not in self._fresh:
                    return
        finally:
            # At once, and not when the loop comes to it: a job that is made meanwhile has to find nobody here.
            self._runners[model] = {one for one in self._runners[model] if one is not asyncio.current_task()}

    async def _work_on(self, model: str, taken: Taken) -> None:
        run = self._runs[taken.id] = _Run()
        try:
            ending = await self._ending(model, taken, run)
            if ending is None:
                return
            bounds = self._bounds()
            if await self._patiently(lambda store: store.finish(taken.id, ending, bounds)):
                self.counts.ended[ending.status] += 1
                if self._teller is not None:
                    self._teller.wake()
        finally:
            del self._runs[taken.id]

    async def _ending(self, model: str, taken: Taken, run: _Run) -> Ending | None:
        """Return how a job ends; None where it was cancelled."""
        try:
            while True:
                hosted = await self._ready(model)
                if taken.content_type == BATCH_TYPE:
                    return Ending("done", dumps(await self._batch(model, hosted.servable, taken, run)))
                found = await self._answers(model, hosted, taken, run)
                if run.cancelled:
                    return None
                if found is not None:
                    said: dict[str, Json] = {"model": hosted.servable.name, "predictions": predictions(found)}
                    return Ending("done", dumps(said))
        except Exception as error:
            return None if run.cancelled else Ending("failed", dumps(told(error).body()["error"]))

    async def _batch(self, model: str, servable: Servable, taken: Taken, run: _Run) -> Mapping[str, Json]:
        """Carry a batch out in a thread of its own, which asks for a few inputs at a time."""
        if self._batches is None:
            raise Refusal("forbidden", "This server takes no batches any more.")
        loop = asyncio.get_running_loop()

        def ask(inputs: Sequence[bytes]) -> Sequence[Answer]:
            return asyncio.run_coroutine_threadsafe(self._some(model, servable, inputs, run), loop).result()

        order = BatchOrder.from_json(taken.body)
        carried = partial(
            self._batches.run,
            order,
            servable,
            ask=ask,
            allows=self._batches.allows,
            again=taken.attempts > 1,
        )
        thread = asyncio.create_task(in_thread(carried, "topwork-batch"))
        self._threads.add(thread)
        thread.add_done_callback(self._ended_thread)
        try:
            return await asyncio.shield(thread)
        except (DataError, UsageError) as error:  # what was asked for cannot be done, and the server is well
            raise Refusal("bad_input", error.problem, next_step=error.next_step) from error

    def _ended_thread(self, thread: asyncio.Task[Mapping[str, Json]]) -> None:
        self._threads.discard(thread)
        if not thread.cancelled():
            thread.exception()  # who waited for it has it, or nobody waits any more

    async def _some(
        self, model: str, servable: Servable, inputs: Sequence[bytes], run: _Run
    ) -> Sequence[Answer]:
        """Answer a few inputs of a batch; refuse where it was ended, or another model took the place of its own."""
        hosted = await self._entered(model, servable, run)
        found = () if hosted is None else await self._slice(hosted, inputs, run)
        if hosted is None or run.cancelled:
            raise Refusal(
                "conflict",
                "The batch was ended, or its model replaced; what is done is kept beside the output.",
                next_step="Ask for the same batch again, and it goes on where the model is the same.",
            )
        return found

    async def _ready(self, model: str) -> Hosted:
        """Return a model once its proof has passed, for which a job waits as long as it may: another one may come."""
        while True:
            hosted = self._models.named(model)
            with suppress(Exception):  # the server says why, and ends where it can
                await hosted.proven()
                return hosted
            await asyncio.sleep(self._tempo.retry_s)

    async def _answers(self, model: str, hosted: Hosted, taken: Taken, run: _Run) -> list[Answer] | None:
        """Return the answers to all inputs of a job, by one model; None where another one took its place meanwhile."""
        servable, limits = hosted.servable, hosted.limits
        reader = reader_for(
            taken.content_type,
            servable.wire,
            max_inputs=limits.max_inputs,
            max_body_bytes=limits.max_body_bytes,
        )
        async with self._reading:
            inputs = await in_thread(partial(reader.read, taken.body), "topwork-job-body")
        found: list[Answer] = []
        for at in range(0, len(inputs), SLICE):
            if run.cancelled:
                return None
            now = await self._entered(model, servable, run)
            if now is None:
                return None
            answers = await self._slice(now, inputs[at : at + SLICE], run)
            found += (replace(one, index=one.index + at) for one in answers)
        return found

    async def _entered(self, model: str, servable: Servable, run: _Run) -> Hosted | None:
        """Return who hosts the model now, with a place in its gate; None where it is another model, or the job is over."""
        while not run.cancelled:
            hosted = self._models.named(model)
            if hosted.servable is not servable:
                return None
            gate, n_most = hosted.gate, most_at_once(hosted)
            if gate.n_waiting or gate.n_inside >= n_most:
                await asyncio.sleep(LOOK_S)
                continue
            with suppress(Refusal):  # it takes nobody now
                await gate.enter()
                if not hosted.workers.stopped:
                    return hosted
                gate.leave(0.0)
            await asyncio.sleep(LOOK_S)
        return None

    async def _slice(self, hosted: Hosted, inputs: Sequence[Input], run: _Run) -> tuple[Answer, ...]:
        servable = hosted.servable
        produce = partial(answered, servable, servable.submit, inputs)
        # Since the place was taken nothing awaited, so it cannot be lost.
        job = run.work = Job(produce, eager=False, on_done=hosted.gate.leave)
        hosted.workers.submit(job)
        if run.cancelled:
            job.cancel()
        try:
            batch = await job.next()
        finally:
            job.cancel()
        if batch.error is not None:
            raise batch.error
        if not batch.finished:
            raise Refusal(
                "bad_request",
                f"{servable.name} answers in pieces, which a job cannot carry.",
                next_step="Use POST /predict.",
            )
        return batch.answers


def most_at_once(hosted: Hosted) -> int:
    """Return how many jobs of a model may be at work; where it has several threads one is left for requests."""
    return max(1, hosted.workers.n_threads - 1)


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


def _shown(job: StoredJob) -> bytes:
    """Return a job as JSON; its answer is JSON already, and may be long."""
    head: dict[str, Any] = {
        "id": job.id,
        "model": job.model,
        "status": job.status,
        "created": _moment(job.created_s),
        "ended": None if job.ended_s is None else _moment(job.ended_s),
        "n_inputs": job.n_inputs,
    }
    answer = job.answer or b"null"
    result, error = (answer, b"null") if job.status == "done" else (b"null", answer)
    return dumps(head)[:-1] + b',"result":' + result + b',"error":' + error + b"}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
