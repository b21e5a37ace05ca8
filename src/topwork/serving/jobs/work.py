"""Jobs at work: taken from the store by turns of their owners, answered by their models, put back with their answers.

It knows no HTTP. Requests that somebody waits for go first: a job is worked on in slices of a few inputs, and
`lanes` says when a slice may begin, whose it is, and how large. Of one owner as many jobs are at work as there are
places for slices, and a few of others besides, so that nobody has to wait for the end of another's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from topwork.contracts import Answer
from topwork.errors import DataError, TopworkError, UsageError
from topwork.serving.batching.share import FAILED
from topwork.serving.batching.work import Job, in_thread
from topwork.serving.http.answers import answered, predictions
from topwork.serving.http.bodies import Input, reader_for
from topwork.serving.http.messages import dumps
from topwork.serving.http.refusals import Refusal
from topwork.serving.jobs.batches import BATCH_TYPE, Batches, BatchOrder, Means
from topwork.serving.jobs.lanes import Lane, n_places
from topwork.serving.jobs.progress import Pace, Progress
from topwork.serving.jobs.records import Bounds, Ending, Kind, Taken
from topwork.serving.jobs.store import Clerk, JobStore
from topwork.serving.protocols.prediction import told

if TYPE_CHECKING:
    from topwork.contracts import Json, Servable
    from topwork.serving.hosting import Hosted, Models

__all__ = ["JobWork", "Run", "patiently"]

T = TypeVar("T")
LOG = logging.getLogger("topwork.serving")
N_OTHERS: Final = 3
"""Jobs of a model that are at work besides those of one owner, of each kind."""

N_HOPELESS: Final = 8
"""Rows of a file in a row on which the model fails, each asked alone, from which on its batch is given up."""

PATIENCE_S: Final = 5.0
"""How long the end of the server waits for a batch to stop."""


@dataclass(slots=True)
class Run:
    """A job that is at work now: whose, how far it is, and how fast; ``servable`` is who answers it."""

    model: str
    owner: str
    progress: Progress
    servable: Servable | None = None
    pace: Pace = field(default_factory=lambda: Pace(time.monotonic))
    works: set[Job] = field(default_factory=set)
    cancelled: bool = False

    def cancel(self) -> None:
        """Stop at the next answer."""
        self.cancelled = True
        for work in self.works:
            work.cancel()

    def begin(self, servable: Servable, progress: Progress) -> None:
        """Note who answers, and how far it is already."""
        self.servable, self.progress, self.pace = servable, progress, Pace(time.monotonic)
        self.pace.note(progress.n_done)

    def note(self, progress: Progress) -> None:
        """Note how far it is now."""
        self.progress = progress
        self.pace.note(progress.n_done)


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
        self._runs: dict[str, Run] = {}
        self._runners: defaultdict[tuple[str, Kind], set[asyncio.Task[None]]] = defaultdict(set)
        self._fresh: set[tuple[str, Kind]] = set()
        self._lanes: defaultdict[str, Lane] = defaultdict(Lane)
        self._threads: set[asyncio.Task[Mapping[str, Json]]] = set()
        self._reading = asyncio.Semaphore(1)

    def begin(self, models: Models, bounds: Callable[[], Bounds]) -> None:
        """Note by which models jobs are answered, and how much may be kept."""
        self._models, self._bounds = models, bounds

    def work_for(self, model: str, kind: Kind) -> None:
        """Have the jobs of a model worked on."""
        runners = self._runners[model, kind]
        if len(runners) < self._most_of_owner(model, kind) + N_OTHERS:
            runners.add(asyncio.create_task(self._work_through(model, kind)))
        else:
            self._fresh.add((model, kind))  # who has just seen an empty line looks once more

    def _most_of_owner(self, model: str, kind: Kind) -> int:
        """Return how many jobs of one owner are at work at once: one about files has its own slices in parallel."""
        if kind == "inputs":
            with suppress(Refusal):  # the model is gone, and somebody has to say so
                return n_places(self._models.named(model))
        return 1

    def run_of(self, name: str) -> Run | None:
        """Return a job that is at work; None where it is not."""
        return self._runs.get(name)

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

    async def _work_through(self, model: str, kind: Kind) -> None:
        """Work on the jobs of a model until there are none."""
        at = (model, kind)
        try:
            while True:
                self._fresh.discard(at)
                take = partial(JobStore.take, model=model, kind=kind, most=self._most_of_owner(model, kind))
                taken = await patiently(self._clerk, take, self._retry_s)
                if taken is not None:
                    await self._work_on(model, taken)
                elif at not in self._fresh:
                    return
        finally:
            # At once, and not when the loop comes to it: a job that is made meanwhile has to find nobody here.
            self._runners[at] -= {one for one in self._runners[at] if one is asyncio.current_task()}

    async def _work_on(self, model: str, taken: Taken) -> None:
        run = self._runs[taken.id] = Run(model, taken.owner, taken.progress)
        try:
            ending = await self._ending(taken, run)
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

    async def _ending(self, taken: Taken, run: Run) -> Ending | None:
        """Return how a job ends; None where it was cancelled."""
        try:
            while not run.cancelled:
                hosted = await self._ready(run.model)
                if taken.content_type == BATCH_TYPE:
                    return Ending("done", dumps(await self._batch(hosted.servable, taken, run)), run.progress)
                found = await self._answers(hosted, taken, run)
                if found is not None:
                    said: dict[str, Json] = {"model": hosted.servable.name, "predictions": predictions(found)}
                    return Ending("done", dumps(said), run.progress)
        except Exception as error:
            return None if run.cancelled else Ending("failed", dumps(self._told(error)), run.progress)
        return None

    def _told(self, error: Exception) -> dict[str, Json]:
        """Return what a client may know of an error, without where the operator's folders lie."""
        said = told(error).body()["error"]
        assert isinstance(said, dict)
        shown = self._batches.shown if self._batches is not None else str
        return {name: shown(one) if isinstance(one, str) else one for name, one in said.items()}

    async def _ready(self, model: str) -> Hosted:
        """Return a model once its proof has passed, for which a job waits as long as it may: another one may come."""
        while True:
            hosted = self._models.named(model)
            with suppress(Exception):  # the server says why, and ends where it can
                await hosted.proven()
                return hosted
            await asyncio.sleep(self._retry_s)

    # --- a few inputs -----------------------------------------------------------------------------------

    async def _answers(self, hosted: Hosted, taken: Taken, run: Run) -> list[Answer] | None:
        """Return the answers to all inputs of a job, by one model; None where it was cancelled or that replaced."""
        limits = hosted.limits
        reader = reader_for(
            taken.content_type,
            hosted.servable.wire,
            max_inputs=limits.max_inputs,
            max_body_bytes=limits.max_body_bytes,
        )
        async with self._reading:
            inputs = await in_thread(partial(reader.read, taken.body), "topwork-job-body")
        run.begin(hosted.servable, Progress(len(inputs)))
        return await self._worked(inputs, run, lambda some: run.note(_with(run.progress, some)))

    async def _worked(
        self,
        inputs: Sequence[Input],
        run: Run,
        note: Callable[[Sequence[Answer]], None],
        *,
        n_hopeless: int = 1,
    ) -> list[Answer] | None:
        """Return the answers to some inputs, slice by slice; None where the job is over, or its model another one.

        A slice on which the model fails is asked again input by input. Where it fails on each of at least
        ``n_hopeless``, that is raised: it is the model that is broken.
        """
        lane, at, alone_until = self._lanes[run.model], 0, 0
        found: list[Answer] = []
        failures: list[Exception] = []
        while at < len(inputs):
            hosted = await lane.enter(run.owner, partial(self._host, run))
            if hosted is None:
                return None
            several = inputs[at : at + (1 if at < alone_until else lane.size)]
            try:
                answers = await self._slice(hosted, several, run)
            except (Refusal, TopworkError):
                raise
            except Exception as error:
                if len(several) > 1:
                    alone_until = at + len(several)
                    continue
                LOG.exception("one of several inputs failed")
                failures.append(error)
                answers = (Answer(0, None, FAILED),)
            found += (replace(one, index=one.index + at) for one in answers)
            note(answers)
            at += len(several)
        if len(failures) == len(inputs) >= n_hopeless:
            raise failures[0]
        return None if run.cancelled else found

    def _host(self, run: Run) -> Hosted | None:
        """Return who hosts a job's model now; None where it is another one, or the job is over."""
        if run.cancelled:
            return None
        hosted = self._models.named(run.model)
        return hosted if hosted.servable is run.servable else None

    async def _slice(self, hosted: Hosted, inputs: Sequence[Input], run: Run) -> tuple[Answer, ...]:
        servable, gate, lane = hosted.servable, hosted.gate, self._lanes[run.model]

        def ended(seconds: float) -> None:
            gate.leave(seconds)
            lane.note(len(inputs), seconds)

        # Since the place was taken nothing awaited, so it cannot be lost.
        job = Job(partial(answered, servable, servable.submit, inputs), eager=False, on_done=ended)
        run.works.add(job)
        hosted.workers.submit(job)
        try:
            batch = await job.next()
        finally:
            job.cancel()
            run.works.discard(job)
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

    async def _batch(self, servable: Servable, taken: Taken, run: Run) -> Mapping[str, Json]:
        """Carry a batch out in a thread of its own, which asks for a few inputs at a time, several times at once."""
        batches = self._batches
        if batches is None:
            raise Refusal("forbidden", "This server takes no batches any more.")
        run.begin(servable, taken.progress)
        order = BatchOrder.from_json(taken.body)
        again = taken.attempts > 1 or taken.progress.n_done > 0
        carried = partial(batches.run, order, servable, self._means(batches, taken.id, run), again=again)
        thread = asyncio.create_task(in_thread(carried, "topwork-batch"))
        self._threads.add(thread)
        thread.add_done_callback(self._ended_thread)
        try:
            found = await asyncio.shield(thread)
        except (DataError, UsageError) as error:  # what was asked for cannot be done, and the server is well
            raise Refusal("bad_input", error.problem, next_step=error.next_step) from error
        return {name: batches.shown(one) if isinstance(one, str) else one for name, one in found.items()}

    def _means(self, batches: Batches, name: str, run: Run) -> Means:
        loop = asyncio.get_running_loop()

        def ask(inputs: Sequence[bytes]) -> Future[Sequence[Answer]]:
            return asyncio.run_coroutine_threadsafe(self._some(inputs, run), loop)

        def tell(progress: Progress) -> None:
            asyncio.run_coroutine_threadsafe(self._noted(name, progress, run), loop).result()

        return Means(ask, lambda: self._most_of_owner(run.model, "inputs") + 1, batches.allows, tell)

    def _ended_thread(self, thread: asyncio.Task[Mapping[str, Json]]) -> None:
        self._threads.discard(thread)
        if not thread.cancelled():
            thread.exception()  # who waited for it has it, or nobody waits any more

    async def _some(self, inputs: Sequence[bytes], run: Run) -> Sequence[Answer]:
        """Answer a few inputs of a batch; refuse where it was ended, or another model took the place of its own."""
        found = await self._worked(inputs, run, lambda _: None, n_hopeless=N_HOPELESS)
        if found is None:
            raise Refusal(
                "conflict",
                "The batch was ended, or its model replaced; what is done is kept beside the output.",
                next_step="Ask for the same batch again, and it goes on where the model is the same.",
            )
        return found

    async def _noted(self, name: str, progress: Progress, run: Run) -> None:
        """Keep how far a batch is; where that cannot be kept its journal knows it all the same."""
        run.note(progress)
        if not run.cancelled:
            with suppress(TopworkError):
                await self._clerk.ask(lambda store: store.note(name, progress))


def _with(progress: Progress, answers: Sequence[Answer]) -> Progress:
    return progress.further(len(answers), sum(one.problem is not None for one in answers))


async def patiently(clerk: Clerk, call: Callable[[JobStore], T], retry_s: float) -> T:
    """Ask the store again and again until it can: nothing is lost while the disk is full."""
    while True:
        try:
            return await clerk.ask(call)
        except TopworkError as error:
            LOG.error("%s It is tried again every %g s.", error, retry_s)  # noqa: TRY400 - the text says all
            await asyncio.sleep(retry_s)
