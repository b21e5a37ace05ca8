"""The threads that work, and the channel from them to the event loop.

A model never runs on the event loop, so that health checks and refusals are answered while it computes.
It knows nothing of HTTP and nothing of what is computed.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from topwork.serving.batching.errands import Errand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from topwork.contracts import Answer

__all__ = ["Batch", "Job", "Workers", "in_thread"]

T = TypeVar("T")
MAX_UNREAD = 16
"""Batches of a stream that may wait for a slow client before the thread pauses."""

CHECK_S = 0.1


@dataclass(frozen=True, slots=True)
class Batch:
    """Some answers of a job; after the one that is ``finished`` no more follow. ``error`` ended it early."""

    answers: tuple[Answer, ...]
    finished: bool
    error: Exception | None = None


class Job:
    """One request's work: made on the event loop, `run` in a thread, read with `next` on the loop.

    The thread works in the context in which it was made, so that what is logged there names the request.

    Parameters
    ----------
    produce
        Starts the work and gives its answers one by one.
    eager
        Hand on each answer as it comes. Otherwise they come together, save where an answer has pieces.
    on_done
        Called on the event loop with the seconds the thread was busy, also after a `cancel`.

    Attributes
    ----------
    is_begun
        A thread has taken it.
    """

    def __init__(
        self, produce: Callable[[], Iterator[Answer]], *, eager: bool, on_done: Callable[[float], None]
    ) -> None:
        self._produce = produce
        self._eager = eager
        self._on_done = on_done
        self._loop = asyncio.get_running_loop()
        self._batches: asyncio.Queue[Batch] = asyncio.Queue()
        self._room: threading.Semaphore | None = None  # most jobs have one batch, and need none
        self._errand = Errand()
        self._context = contextvars.copy_context()
        self.is_begun = False

    def run(self) -> None:
        """Work until the end, an error, or `cancel`; the thread's side."""
        began, self.is_begun = time.perf_counter(), True
        pending: list[Answer] = []
        error: Exception | None = None
        try:
            with self._errand.here():
                self._context.run(self._work, pending)
        except Exception as failure:
            error = failure
        with suppress(RuntimeError):  # the loop is closed: the server is gone, and so is the client
            self._loop.call_soon_threadsafe(
                self._end, Batch(tuple(pending), finished=True, error=error), time.perf_counter() - began
            )

    def _end(self, last: Batch, service_s: float) -> None:
        self._on_done(service_s)  # first: who reads the last answers may ask how long it took
        self._batches.put_nowait(last)

    def _work(self, pending: list[Answer]) -> None:
        if self._errand.is_over:
            return
        answers = self._produce()
        for answer in answers:
            pending.append(answer)
            if self._eager or not answer.last:
                self._hand_on(pending)
            if self._errand.is_over:
                break
        # An iterator that was left early may hold a place in somebody's batch: tell it now.
        if close := getattr(answers, "close", None):
            close()

    def _hand_on(self, pending: list[Answer]) -> None:
        room = self._room = self._room or threading.Semaphore(MAX_UNREAD)
        while not room.acquire(timeout=CHECK_S):
            if self._errand.is_over:
                return
        self._loop.call_soon_threadsafe(self._batches.put_nowait, Batch(tuple(pending), finished=False))
        pending.clear()

    def cancel(self) -> None:
        """Ask the thread to stop at the next answer, or sooner where what it waits for can be told; see `errands`.

        Work that has not begun is never begun.
        """
        self._errand.leave()

    async def next(self) -> Batch:
        """Wait for the next answers."""
        batch = await self._batches.get()
        if self._room is not None:
            self._room.release()
        return batch


class Workers:
    """A fixed number of threads that take jobs in order.

    They are daemons: a model that hangs must not keep a process alive that was told to end.

    Attributes
    ----------
    n_threads
        How many there are; `grow` from one event loop.
    stopped
        Whether they were told to end.
    """

    def __init__(self, n_threads: int, name: str) -> None:
        self.n_threads, self.stopped = n_threads, False
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._name, self._is_started = name, False
        self._threads: list[threading.Thread] = []
        self._add(n_threads)

    def _add(self, n_more: int) -> None:
        there = len(self._threads)
        self._threads += [
            threading.Thread(target=self._take, name=f"{self._name}-{i}", daemon=True)
            for i in range(there, there + n_more)
        ]

    def start(self) -> None:
        """Start the threads."""
        self._is_started = True
        for thread in self._threads:
            thread.start()

    def grow(self, n_threads: int) -> None:
        """Have as many, where there are fewer."""
        if self.stopped or n_threads <= self.n_threads:
            return
        self._add(n_threads - self.n_threads)
        fresh, self.n_threads = self._threads[self.n_threads :], n_threads
        for thread in fresh if self._is_started else ():
            thread.start()

    def submit(self, job: Job) -> None:
        """Put a job in line."""
        self._jobs.put(job)

    def stop(self, timeout_s: float) -> bool:
        """Let the threads end after the jobs in line; return whether all ended within ``timeout_s``."""
        self.stopped = True
        for _ in self._threads:
            self._jobs.put(None)
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _take(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()


async def in_thread(call: Callable[[], T], name: str) -> T:
    """Run one long call in a daemon thread of its own and return what it returns."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            outcome: tuple[T | None, BaseException | None] = (call(), None)
        except Exception as error:
            outcome = (None, error)
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
