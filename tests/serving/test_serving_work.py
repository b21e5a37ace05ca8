"""Work happens in threads, arrives in order, stops when nobody wants it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from topwork.contracts import Answer
from topwork.serving.batching.work import MAX_UNREAD, Job, Workers, in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator


def answers(n: int, *, pieces: bool = False) -> Iterator[Answer]:
    for index in range(n):
        yield Answer(index, {"n": index}, last=not pieces)


async def until_done(job: Job) -> list[tuple[int, bool]]:
    seen = []
    while True:
        batch = await job.next()
        seen.append((len(batch.answers), batch.finished))
        if batch.finished:
            return seen


def run(job_of: object, *, eager: bool = False) -> list[tuple[int, bool]]:
    async def main() -> list[tuple[int, bool]]:
        workers = Workers(1, "test")
        workers.start()
        job = Job(job_of, eager=eager, on_done=lambda _: None)  # type: ignore[arg-type]
        workers.submit(job)
        seen = await until_done(job)
        assert workers.stop(5)
        return seen

    return asyncio.run(main())


def test_whole_answers_come_together() -> None:
    assert run(lambda: answers(3)) == [(3, True)]


def test_an_eager_job_hands_on_each_answer() -> None:
    assert run(lambda: answers(3), eager=True) == [(1, False)] * 3 + [(0, True)]


def test_pieces_come_as_they_are_made() -> None:
    assert run(lambda: answers(2, pieces=True)) == [(1, False)] * 2 + [(0, True)]


def test_a_slow_reader_pauses_the_thread_and_cancel_ends_it() -> None:
    made: list[None] = []

    def endless() -> Iterator[Answer]:
        while True:
            made.append(None)
            yield Answer(0, {}, last=False)

    async def main() -> None:
        workers, done = Workers(1, "test"), asyncio.Event()
        workers.start()
        job = Job(endless, eager=True, on_done=lambda _: done.set())
        workers.submit(job)
        await job.next()
        await asyncio.sleep(0.3)
        assert len(made) <= MAX_UNREAD + 2
        job.cancel()
        async with asyncio.timeout(5):
            await done.wait()
        assert workers.stop(5)

    asyncio.run(main())


def test_work_that_was_cancelled_in_line_never_begins() -> None:
    async def main() -> None:
        workers, began = Workers(1, "test"), threading.Event()

        def produce() -> Iterator[Answer]:
            began.set()
            return answers(1)

        done = asyncio.Event()
        job = Job(produce, eager=False, on_done=lambda _: done.set())
        job.cancel()
        workers.submit(job)
        workers.start()
        await done.wait()
        assert not began.is_set()
        assert workers.stop(5)

    asyncio.run(main())


def test_an_error_ends_the_job_and_keeps_what_came_before() -> None:
    def produce() -> Iterator[Answer]:
        yield Answer(0, {})
        raise ValueError("broken")

    async def main() -> None:
        workers = Workers(1, "test")
        workers.start()
        job = Job(produce, eager=False, on_done=lambda _: None)
        workers.submit(job)
        batch = await job.next()
        assert (len(batch.answers), batch.finished, str(batch.error)) == (1, True, "broken")
        assert workers.stop(5)

    asyncio.run(main())


def test_a_thread_that_hangs_does_not_hold_up_the_end() -> None:
    async def main() -> None:
        workers, release = Workers(1, "test"), threading.Event()
        workers.start()

        def produce() -> Iterator[Answer]:
            release.wait(20)
            return answers(1)

        workers.submit(Job(produce, eager=False, on_done=lambda _: None))
        assert not workers.stop(0.05)
        release.set()

    asyncio.run(main())


def test_a_long_call_gives_its_result_or_its_error() -> None:
    def fail() -> None:
        raise ValueError("no")

    assert asyncio.run(in_thread(lambda: threading.current_thread().name, "far")) == "far"
    with pytest.raises(ValueError, match="no"):
        asyncio.run(in_thread(fail, "far"))
