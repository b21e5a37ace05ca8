"""Jobs at work: taken from the store one after the other, answered by their models, and put back with their answers.

It knows no HTTP. Requests that somebody waits for go first. A job is worked on in slices of a few inputs, and each
slice takes a place only while no request wants one, and leaves another place free where a model has several. So a
request waits for one slice of one job at most, however many jobs there are; and jobs wait for as long as requests
leave no room.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from topwork.errors import DataError, TopworkError, UsageError
from topwork.serving.answers import answered, predictions
from topwork.serving.batches import BATCH_TYPE, Batches, BatchOrder
from topwork.serving.bodies import Input, reader_for
from topwork.serving.job_store import Bounds, Clerk, Ending, JobStore, Taken
from topwork.serving.messages import dumps
from topwork.serving.prediction import told
from topwork.serving.refusals import Refusal
from topwork.serving.work import Job, in_thread

if TYPE_CHECKING:
    from topwork.contracts import Answer, Json, Servable
    from topwork.serving.hosting import Hosted, Models

__all__ = ["SLICE", "JobWork", "patiently"]

T = TypeVar("T")
LOG = logging.getLogger("topwork.serving")
SLICE: Final = 16
"""Inputs that are worked on before a request may go first: as many as a bundle runs together."""

LOOK_S: Final = 0.01
"""How often a job looks whether requests leave a place."""

PATIENCE_S: Final = 5.0
"""How long the end of the server waits for a batch to stop."""


@dataclass(slots=True)
class _Run:
    """A job that is at work now."""

    work: Job | None = None
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True
        if self.work is not None:
            self.work.cancel()


class JobWork:
    """Works on the jobs of a store; use it on one event loop.

    Parameters
    ----------
    clerk
        Who has them.
    ended
        Where ends are counted, by status.
    batches
        What batches there may be; None for none.
    retry_s
        How long to wait before what could not be done is tried again.
    on_end
        Called after each end.
    """

    def __init__(
        self,
        clerk: Clerk,
        ended: Counter[str],
        *,
        batches: Batches | None,
        retry_s: float,
        on_end: Callable[[], None],
    ) -> None:
        self._clerk, self._ended, self._batches = clerk, ended, batches
        self._retry_s, self._on_end = retry_s, on_end
        self._runs: dict[str, _Run] = {}
        self._runners: dict[str, set[asyncio.Task[None]]] = {}
        self._fresh: set[str] = set()
        self._threads: set[asyncio.Task[Mapping[str, Json]]] = set()
        self._reading = asyncio.Semaphore(1)

    def begin(self, models: Models, bounds: Callable[[], Bounds]) -> None:
        """Note by which models jobs are answered, and how much may be kept."""
        self._models, self._bounds = models, bounds

    def work_for(self, model: str) -> None:
        """Have the jobs of a model worked on, by as many at once as leave a place for requests."""
        n_most = 1  # a model that is gone has one runner, to say so
        with suppress(Refusal):
            n_most = _most_at_once(self._models.named(model))
        runners = self._runners.setdefault(model, set())
        if len(runners) < n_most:
            runners.add(asyncio.create_task(self._work_through(model)))
        else:
            self._fresh.add(model)  # who has just seen an empty line looks once more

    def cancel(self, name: str) -> None:
        """Have a job stop at its next answer, where it is at work."""
        if (run := self._runs.get(name)) is not None:
            run.cancel()

    async def stop(self) -> None:
        """Stop working; jobs that were at work are still running in the store."""
        for run in self._runs.values():
            run.cancel()
        tasks = [task for several in self._runners.values() for task in several]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._threads:  # a batch ends at its next input, and what it has done is kept
            await asyncio.wait(self._threads, timeout=PATIENCE_S)

    async def _work_through(self, model: str) -> None:
        """Work on the jobs of a model until there are none."""
        try:
            while True:
                self._fresh.discard(model)
                taken = await patiently(self._clerk, lambda store: store.take(model), self._retry_s)
                if taken is not None:
                    await self._work_on(model, taken)
                elif model not in self._fresh:
                    return
        finally:
            # At once, and not when the loop comes to it: a job that is made meanwhile has to find nobody here.
            self._runners[model] -= {one for one in self._runners[model] if one is asyncio.current_task()}

    async def _work_on(self, model: str, taken: Taken) -> None:
        run = self._runs[taken.id] = _Run()
        try:
            ending = await self._ending(model, taken, run)
            if ending is None:
                return
            bounds = self._bounds()
            if await patiently(
                self._clerk, lambda store: store.finish(taken.id, ending, bounds), self._retry_s
            ):
                self._ended[ending.status] += 1
                self._on_end()
        finally:
            del self._runs[taken.id]

    async def _ending(self, model: str, taken: Taken, run: _Run) -> Ending | None:
        """Return how a job ends; None where it was cancelled."""
        try:
            while not run.cancelled:
                hosted = await self._ready(model)
                if taken.content_type == BATCH_TYPE:
                    return Ending("done", dumps(await self._batch(model, hosted.servable, taken, run)))
                found = await self._answers(model, hosted, taken, run)
                if found is not None:
                    said: dict[str, Json] = {"model": hosted.servable.name, "predictions": predictions(found)}
                    return Ending("done", dumps(said))
        except Exception as error:
            return None if run.cancelled else Ending("failed", dumps(told(error).body()["error"]))
        return None

    async def _ready(self, model: str) -> Hosted:
        """Return a model once its proof has passed, for which a job waits as long as it may: another one may come."""
        while True:
            hosted = self._models.named(model)
            with suppress(Exception):  # the server says why, and ends where it can
                await hosted.proven()
                return hosted
            await asyncio.sleep(self._retry_s)

    # --- a few inputs -----------------------------------------------------------------------------------

    async def _answers(self, model: str, hosted: Hosted, taken: Taken, run: _Run) -> list[Answer] | None:
        """Return the answers to all inputs of a job, by one model; None where it was cancelled or that replaced."""
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
            now = await self._entered(model, servable, run)
            if now is None:
                return None
            answers = await self._slice(now, inputs[at : at + SLICE], run)
            found += (replace(one, index=one.index + at) for one in answers)
        return None if run.cancelled else found

    async def _entered(self, model: str, servable: Servable, run: _Run) -> Hosted | None:
        """Return who hosts a model now, with a place in its gate; None where it is another one, or the job is over."""
        while not run.cancelled:
            hosted = self._models.named(model)
            if hosted.servable is not servable:
                return None
            gate = hosted.gate
            if hosted.n_waiting or gate.n_inside >= _most_at_once(hosted):
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
        try:
            batch = await job.next()
        finally:
            job.cancel()
        hosted.watch.saw(batch.answers)
        if batch.error is not None:
            raise batch.error
        if not batch.finished:
            raise Refusal(
                "bad_request",
                f"{servable.name} answers in pieces, which a job cannot carry.",
                next_step="Use POST /predict.",
            )
        return batch.answers

    # --- a whole file -----------------------------------------------------------------------------------

    async def _batch(self, model: str, servable: Servable, taken: Taken, run: _Run) -> Mapping[str, Json]:
        """Carry a batch out in a thread of its own, which asks for a few inputs at a time."""
        if self._batches is None:
            raise Refusal("forbidden", "This server takes no batches any more.")
        loop = asyncio.get_running_loop()

        def ask(inputs: Sequence[bytes]) -> Sequence[Answer]:
            return asyncio.run_coroutine_threadsafe(self._some(model, servable, inputs, run), loop).result()

        order, again = BatchOrder.from_json(taken.body), taken.attempts > 1
        carried = partial(
            self._batches.run, order, servable, ask=ask, allows=self._batches.allows, again=again
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


def _most_at_once(hosted: Hosted) -> int:
    """Return how many jobs of a model may be at work; where it has several places one is left for requests."""
    n_places = hosted.limits.max_concurrent or hosted.n_at_once
    return max(1, min(n_places, hosted.gate.max_concurrent) - 1)


async def patiently(clerk: Clerk, call: Callable[[JobStore], T], retry_s: float) -> T:
    """Ask the store again and again until it can: nothing is lost while the disk is full."""
    while True:
        try:
            return await clerk.ask(call)
        except TopworkError as error:
            LOG.error("%s It is tried again every %g s.", error, retry_s)  # noqa: TRY400 - the text says all
            await asyncio.sleep(retry_s)
