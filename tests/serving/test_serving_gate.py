"""Places are bounded, waiting is bounded, and nothing is lost when a waiting task is cancelled."""

from __future__ import annotations

import asyncio
import random
from contextlib import ExitStack

import pytest

from topwork.errors import UsageError
from topwork.serving.batching.gate import ByteBudget, Gate, Load, Turns
from topwork.serving.http.refusals import Refusal
from topwork.serving.limits import Limits


def test_a_full_line_is_refused_with_the_time_to_come_again() -> None:
    async def main() -> None:
        gate = Gate(max_concurrent=1, max_waiting=1)
        await gate.enter()
        waiting = asyncio.create_task(gate.enter())
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as caught:
            await gate.enter()
        assert caught.value.status == 429
        assert int(caught.value.headers["retry-after"]) >= 1
        gate.leave(0.1)
        await waiting
        assert (gate.n_inside, gate.n_waiting) == (1, 0)

    asyncio.run(main())


def test_retry_after_follows_the_measured_work() -> None:
    async def main() -> None:
        gate = Gate(max_concurrent=2, max_waiting=10)
        assert gate.retry_after_s() == 1
        for _ in range(2):
            await gate.enter()
        waiting = [asyncio.create_task(gate.enter()) for _ in range(5)]
        await asyncio.sleep(0)
        gate.leave(4.0)
        await asyncio.sleep(0)
        # The work takes 4 s, two at a time, and four others stand before the next one.
        assert gate.retry_after_s() == 10
        gate.leave(1e9)
        assert gate.retry_after_s() == 60
        for task in waiting:
            task.cancel()

    asyncio.run(main())


def test_cancelled_waiters_leave_no_hole() -> None:
    rng = random.Random(3)

    async def visit(gate: Gate) -> None:
        await gate.enter()
        try:
            await asyncio.sleep(rng.choice([0, 0.0005]))
        finally:
            gate.leave(0.0)

    async def main() -> None:
        gate = Gate(max_concurrent=3, max_waiting=1000)
        tasks = [asyncio.create_task(visit(gate)) for _ in range(600)]
        for task in rng.sample(tasks, 400):
            await asyncio.sleep(0)
            task.cancel()
        async with asyncio.timeout(20):
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {type(None), asyncio.CancelledError}
            assert (gate.n_waiting, gate.n_inside) == (0, 0)
            for _ in range(3):
                await gate.enter()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await gate.enter()
        assert (gate.n_waiting, gate.n_inside) == (0, 3)

    asyncio.run(main())


def test_bytes_in_memory_are_bounded() -> None:
    budget = ByteBudget(10)
    budget.take(7)
    with pytest.raises(Refusal) as caught:
        budget.take(4, retry_after_s=9)
    assert (caught.value.status, budget.held) == (429, 7)
    assert caught.value.headers["retry-after"] == "9"
    budget.give_back(7)
    budget.take(10)


@pytest.mark.parametrize(
    "bounds", [{"max_inputs": 0}, {"deadline_s": -1.0}, {"max_waiting": -1}, {"drain_s": float("nan")}]
)
def test_a_limit_that_cannot_work_is_refused(bounds: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(bounds))):
        Limits(**bounds)


def test_no_waiting_at_all_is_a_choice() -> None:
    assert Limits(max_waiting=0).max_waiting == 0


def test_earlier_turns_are_over_when_all_of_them_have_left() -> None:
    async def main() -> None:
        turns, first, second = Turns(), ExitStack(), ExitStack()
        first.enter_context(turns.inside())
        one = asyncio.create_task(turns.left(turns.next()))
        second.enter_context(turns.inside())
        two = asyncio.create_task(turns.left(turns.next()))
        with turns.inside():
            await asyncio.sleep(0)
            second.close()
            await asyncio.sleep(0.01)
            assert not one.done()
            assert not two.done(), "who came in earlier still is inside"
            first.close()
            async with asyncio.timeout(5):
                await asyncio.gather(one, two)

    asyncio.run(main())


def test_a_budget_can_take_another_bound() -> None:
    budget = ByteBudget(10)
    budget.take(8)
    budget.resize(5)
    with pytest.raises(Refusal):
        budget.take(1)
    budget.give_back(8)
    budget.take(5)


def test_a_gate_can_be_widened_and_is_never_narrowed() -> None:
    async def main() -> None:
        gate = Gate(max_concurrent=1, max_waiting=0)
        gate.widen(3)
        gate.widen(2)
        for _ in range(3):
            await gate.enter()
        with pytest.raises(Refusal):
            await gate.enter()
        gate.leave(6.0)
        gate.leave(6.0)
        assert gate.retry_after_s() == 2, "three at once share what takes six seconds"

    asyncio.run(main())


def test_what_is_spent_in_line_behind_the_gate_is_no_work() -> None:
    async def main() -> None:
        gate = Gate(max_concurrent=1, max_waiting=0)
        assert await gate.enter(noted=False) < 1.0
        assert gate.waited.cumulated()[-1][1] == 0
        gate.leave(6.0, waited_s=4.5)
        assert gate.worked.total_s == 1.5
        assert gate.retry_after_s() == 6, "a place was taken for all of it"

    asyncio.run(main())


def test_a_gate_can_be_made_wider_and_narrower_and_be_closed() -> None:
    async def main() -> None:
        gate = Gate(max_concurrent=0, max_waiting=10)
        calls: list[None] = []
        gate.on_closed = lambda: calls.append(None)
        waiting = [asyncio.create_task(gate.enter()) for _ in range(4)]
        await asyncio.sleep(0.01)
        assert (gate.n_inside, gate.n_waiting, len(calls)) == (0, 4, 4)
        gate.resize(2)
        await asyncio.sleep(0.01)
        assert (gate.n_inside, gate.n_waiting) == (2, 2)
        gate.resize(1)
        gate.leave(0.1)
        await asyncio.sleep(0.01)
        assert (gate.n_inside, gate.n_waiting) == (1, 2), "the place that came free is one that is gone"
        gate.leave(0.1)
        await asyncio.sleep(0.01)
        assert (gate.n_inside, gate.n_waiting) == (1, 1)
        gate.resize(5)
        async with asyncio.timeout(5):
            await asyncio.gather(*waiting)
        assert (gate.n_inside, gate.n_waiting, gate.retry_after_s()) == (2, 0, 1)

    asyncio.run(main())


def test_who_is_cancelled_as_a_place_comes_free_hands_it_on() -> None:
    async def main() -> None:
        gate = Gate(max_concurrent=1, max_waiting=10)
        await gate.enter()
        first, second = (asyncio.create_task(gate.enter()) for _ in range(2))
        await asyncio.sleep(0)
        gate.leave(0.1)
        first.cancel()
        async with asyncio.timeout(5):
            await second
        assert (gate.n_inside, gate.n_waiting, gate.load.n_now) == (1, 0, 1)

    asyncio.run(main())


def test_a_load_is_the_seconds_of_all_that_were_there() -> None:
    now_s = 0.0
    load = Load(lambda: now_s)
    for at_s, by in ((1.0, 1), (3.0, 1), (4.0, -1), (10.0, -1)):
        now_s = at_s
        load.change(by)
    now_s = 20.0
    # One from 1 to 10, and one from 3 to 4.
    assert (load.seconds(), load.n_now) == (10.0, 0)


def test_a_gate_counts_who_waits_and_who_works() -> None:
    async def main() -> None:
        gate = Gate(max_concurrent=1, max_waiting=10)
        await gate.enter()
        waiting = asyncio.create_task(gate.enter())
        await asyncio.sleep(0)
        assert gate.load.n_now == 2
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert gate.load.n_now == 1
        gate.leave(0.1)
        assert gate.load.n_now == 0

    asyncio.run(main())
