"""Slices of jobs in line: owners have turns, requests go first, and a slice is as large as its time allows."""

from __future__ import annotations

import asyncio

import pytest

from doors import Clock
from fake_servable import FakeServable
from topwork.serving.hosting import Hosted
from topwork.serving.jobs.lanes import SLICE, SLICE_S, Lane, n_places
from topwork.serving.jobs.progress import Pace, Progress
from topwork.serving.limits import Limits


@pytest.mark.parametrize(("n_all", "n_slices"), [(1, 1), (2, 1), (3, 2), (4, 3), (8, 6), (16, 12)])
def test_places_are_kept_for_requests(n_all: int, n_slices: int) -> None:
    assert n_places(Hosted(FakeServable(), Limits(max_concurrent=n_all))) == n_slices


def test_slices_grow_as_their_time_allows() -> None:
    lane, sizes = Lane(), []
    for _ in range(6):
        sizes.append(lane.size)
        lane.note(lane.size, 0.001 * lane.size)
    assert sizes == [1, 2, 4, 8, SLICE, SLICE]
    for _ in range(20):
        lane.note(lane.size, 0.02 * lane.size)
    assert lane.size == int(SLICE_S / 0.02)
    for _ in range(20):
        lane.note(lane.size, 10.0 * lane.size)
    assert lane.size == 1


def test_owners_have_turns_with_slices() -> None:
    hosted, order = Hosted(FakeServable(), Limits(max_concurrent=1)), list[str]()

    async def one(lane: Lane, owner: str) -> None:
        found = await lane.enter(owner, lambda: hosted)
        assert found is hosted
        order.append(owner)
        await asyncio.sleep(0.001)
        hosted.gate.leave(0.0)
        lane.note(1, 0.001)

    async def main() -> None:
        lane = Lane()
        many = [asyncio.create_task(one(lane, "many")) for _ in range(6)]
        await asyncio.sleep(0)
        few = [asyncio.create_task(one(lane, "few")) for _ in range(2)]
        await asyncio.gather(*many, *few)

    asyncio.run(main())
    assert order == ["many", "many", "many", "few", "many", "few", "many", "many"], "two were there before"


def test_a_slice_that_is_given_up_holds_nobody_up() -> None:
    hosted = Hosted(FakeServable(), Limits(max_concurrent=1))

    async def main() -> None:
        lane = Lane()
        await hosted.gate.enter()
        waiting = [asyncio.create_task(lane.enter(owner, lambda: hosted)) for owner in "abc"]
        await asyncio.sleep(0.03)
        waiting[0].cancel()
        waiting[1].cancel()
        hosted.gate.leave(0.0)
        assert await asyncio.wait_for(waiting[2], 5) is hosted
        assert await lane.enter("d", lambda: None) is None
        hosted.gate.leave(0.0)
        assert await asyncio.wait_for(lane.enter("e", lambda: hosted), 5) is hosted

    asyncio.run(main())


def test_a_slice_waits_for_requests_in_line() -> None:
    hosted = Hosted(FakeServable(), Limits(max_concurrent=1))

    async def main() -> None:
        lane = Lane()
        await hosted.gate.enter()
        batch = asyncio.create_task(lane.enter("a", lambda: hosted))
        await asyncio.sleep(0.03)
        live = asyncio.create_task(hosted.gate.enter())
        await asyncio.sleep(0)
        hosted.gate.leave(0.0)
        await asyncio.wait_for(live, 5)
        await asyncio.sleep(0.03)
        assert not batch.done()
        hosted.gate.leave(0.0)
        assert await asyncio.wait_for(batch, 5) is hosted

    asyncio.run(main())


def test_a_pace_is_that_of_the_last_minute() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert pace.per_second() is None
    pace.note(50)
    for _ in range(100):
        clock.now_s += 1.0
        pace.note(50 + int(10 * clock.now_s))
    assert pace.per_second() == pytest.approx(10)
    assert Progress(1250, 1050).seconds_left(pace.per_second()) == pytest.approx(20)
    assert Progress(1250, 1050).seconds_left(None) is None
    clock.now_s += 60.0
    assert pace.per_second() == pytest.approx(5, rel=0.1), "while it waits it becomes slower"
