"""Batches across requests: at once where the engine is idle, together where it is busy, and nobody pays for another."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fake_batches import FakeBatches, Speller
from fake_servable import describe
from topwork.contracts import Answer, Batchable, Intake
from topwork.serving.batching.crew import Crew
from topwork.serving.batching.patience import Patience
from topwork.serving.batching.share import FAILED, Late, Share, Spent
from topwork.serving.batching.work import Batch
from topwork.serving.http.bodies import Unreadable
from topwork.serving.http.refusals import Refusal


class Desk:
    """Begins requests at a crew and remembers what they cost."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self.spent: list[Spent] = []

    def ask(self, *inputs: bytes, eager: bool = False, for_s: float = 20.0) -> Share:
        return self.crew.begin(
            lambda: inputs, eager=eager, patience=Patience(for_s), on_done=self.spent.append
        )


@asynccontextmanager
async def working(
    servable: FakeBatches, n_slots: int = 1, largest: int = 4, **settings: Any
) -> AsyncIterator[Desk]:
    crew = Crew(servable, n_slots, **settings)
    crew.start()
    crew.take_up_to(largest)
    yield Desk(crew)
    servable.gate.set()
    assert await asyncio.to_thread(crew.stop, 5)


async def answers_of(share: Share) -> list[Answer]:
    batch = await whole(share)
    assert batch.error is None
    return sorted(batch.answers, key=lambda answer: answer.index)


async def whole(share: Share) -> Batch:
    async with asyncio.timeout(20):
        batch = await share.next()
    assert batch.finished
    return batch


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.001)


async def busy(desk: Desk, servable: FakeBatches, n_batches: int = 1) -> list[Share]:
    """Close the gate and have the engine occupied."""
    servable.gate.clear()
    shares = []
    for _ in range(n_batches):
        shares.append(desk.ask(b"first"))
        assert await asyncio.to_thread(servable.entered.acquire, timeout=20)
    return shares


# --- batches --------------------------------------------------------------------------------------------


def test_it_can_be_batched() -> None:
    assert isinstance(FakeBatches(), Batchable)


def test_an_idle_engine_takes_an_input_at_once() -> None:
    servable = FakeBatches()

    async def main() -> None:
        async with working(servable, largest=64) as desk:
            (answer,) = await answers_of(desk.ask(b"alone"))
            assert answer.value == describe(b"alone")

    asyncio.run(main())
    assert servable.batches == [[b"alone"]]


def test_each_thread_rehearses_once_before_there_is_a_request() -> None:
    servable = FakeBatches()

    async def main() -> None:
        async with working(servable, n_slots=2, largest=2) as desk:
            await asyncio.to_thread(desk.crew.rehearse)
            assert desk.crew.n_waiting == 0
            (answer,) = await answers_of(desk.ask(b"first"))
            assert answer.value == describe(b"first")

    asyncio.run(main())
    assert len(servable.rehearsed) == len(set(servable.rehearsed)) > 2
    assert servable.batches == [[b"first"]]


def test_a_rehearsal_that_fails_or_hangs_is_left_to_the_requests() -> None:
    hung = threading.Event()

    class Unable(FakeBatches):
        def rehearse(self) -> None:
            if len(self.rehearsed) == 0:
                super().rehearse()
                hung.wait(20)
            raise RuntimeError("no sample")

    servable = Unable()

    async def main() -> None:
        async with working(servable, n_slots=2) as desk:
            await asyncio.to_thread(desk.crew.rehearse, 0.2)
            (answer,) = await answers_of(desk.ask(b"first"))
            assert answer.value == describe(b"first")
            hung.set()

    asyncio.run(main())


def test_what_comes_while_the_engine_is_busy_goes_together() -> None:
    servable = FakeBatches()

    async def main() -> None:
        async with working(servable, largest=4) as desk:
            (first,) = await busy(desk, servable)
            others = [desk.ask(b"x" * n) for n in (1, 2, 3, 4, 5)]
            await until(lambda: desk.crew.n_ready == 5)
            assert desk.crew.n_waiting == 5
            servable.gate.set()
            for n, share in enumerate(others, 1):
                (answer,) = await answers_of(share)
                assert answer.value == describe(b"x" * n)
            await answers_of(first)
            assert desk.crew.n_waiting == 0
            assert desk.crew.sizes == {1: 2, 4: 1}

    asyncio.run(main())
    assert sorted(map(len, servable.batches)) == [1, 1, 4]


def test_as_many_batches_run_as_there_are_slots() -> None:
    servable = FakeBatches()

    async def main() -> None:
        async with working(servable, n_slots=2) as desk:
            await busy(desk, servable, 2)
            desk.ask(b"third")
            await until(lambda: desk.crew.n_ready == 1)
            assert len(servable.batches) == 2

    asyncio.run(main())


def test_inputs_of_two_keys_never_share_a_batch() -> None:
    servable = FakeBatches()

    async def main() -> None:
        async with working(servable, largest=4) as desk:
            await busy(desk, servable)
            shares = [desk.ask(b"long:1", b"short:22", b"long:333"), desk.ask(b"short:4444")]
            await until(lambda: desk.crew.n_ready == 4)
            servable.gate.set()
            many = await answers_of(shares[0])
            assert [answer.value for answer in many] == list(
                map(describe, [b"long:1", b"short:22", b"long:333"])
            )
            assert [answer.index for answer in many] == [0, 1, 2]
            await answers_of(shares[1])

    asyncio.run(main())
    assert [{one.partition(b":")[0] for one in batch} for batch in servable.batches[1:]] == [
        {b"long"},
        {b"short"},
    ]


def test_a_large_request_lets_a_small_one_in() -> None:
    servable = FakeBatches()

    async def main() -> None:
        async with working(servable, largest=4) as desk:
            await busy(desk, servable)
            large = desk.ask(*(b"large" for _ in range(12)))
            await until(lambda: desk.crew.n_ready == 5)
            small = desk.ask(b"small")
            servable.gate.set()
            await answers_of(small)
            await answers_of(large)

    asyncio.run(main())
    place = next(place for place, batch in enumerate(servable.batches) if b"small" in batch)
    assert sum(batch.count(b"large") for batch in servable.batches[:place]) <= 8, servable.batches


def test_inputs_are_prepared_while_the_engine_is_busy_and_not_without_bound() -> None:
    servable = FakeBatches()

    async def main() -> None:
        async with working(servable, largest=2) as desk:
            await busy(desk, servable)
            share = desk.ask(*(b"x" for _ in range(20)))
            await until(lambda: desk.crew.n_ready == 3)
            await asyncio.sleep(0.05)
            assert desk.crew.n_ready == 3
            servable.gate.set()
            assert len(await answers_of(share)) == 20

    asyncio.run(main())


# --- what goes wrong ------------------------------------------------------------------------------------


def test_an_input_that_breaks_a_batch_fails_alone() -> None:
    servable = FakeBatches()

    async def main() -> None:
        async with working(servable, largest=8) as desk:
            await busy(desk, servable)
            good = [desk.ask(b"x" * n) for n in range(1, 4)]
            bad = desk.ask(b"boom")
            good += [desk.ask(b"x" * n) for n in range(4, 8)]
            await until(lambda: desk.crew.n_ready == 8)
            servable.gate.set()
            for n, share in enumerate(good, 1):
                (answer,) = await answers_of(share)
                assert answer.value == describe(b"x" * n)
            failed = await whole(bad)
            assert (failed.answers, str(failed.error)) == ((), "secret detail of the server")
            assert desk.crew.sizes == {1: 1, 8: 1}

    asyncio.run(main())
    assert len(servable.batches) <= 1 + 2 * 4, "halving finds one of eight in three steps"


def test_one_of_several_inputs_of_a_request_fails_alone() -> None:
    async def main() -> None:
        async with working(FakeBatches()) as desk:
            good, bad, trap = await answers_of(desk.ask(b"good", b"boom", b"trap"))
            assert good.value == describe(b"good")
            assert (bad.problem, trap.problem) == (FAILED, FAILED)

    asyncio.run(main())


def test_an_input_without_an_answer_has_failed() -> None:
    async def main() -> None:
        async with working(FakeBatches()) as desk:
            failed = await whole(desk.ask(b"silent"))
            assert str(failed.error) == "1 of 1 inputs were left without an answer"

    asyncio.run(main())


@dataclass
class Liar(FakeBatches):
    """Answers an input that there is not."""

    def compute(self, prepared: Sequence[bytes], intake: Intake) -> Iterator[Answer]:
        yield Answer(7, {})


def test_an_answer_to_nothing_is_an_error() -> None:
    async def main() -> None:
        async with working(Liar()) as desk:
            failed = await whole(desk.ask(b"x"))
            assert str(failed.error) == "an answer came for input 7, which is not open"

    asyncio.run(main())


def test_what_cannot_be_read_or_decoded_costs_the_others_nothing() -> None:
    async def main() -> None:
        async with working(FakeBatches()) as desk:
            mixed = (b"good", Unreadable("It is no base64."), b"bad")
            share = desk.crew.begin(
                lambda: mixed, eager=False, patience=Patience(20), on_done=desk.spent.append
            )
            good, unread, bad = await answers_of(share)
            assert good.value == describe(b"good")
            assert unread.problem == "It is no base64."
            assert bad.problem == "It is no photo: it begins with 'bad'.\nSend a photo."
            (only,) = await answers_of(desk.ask(b"bad"))
            assert only.problem == bad.problem

    asyncio.run(main())


def test_a_body_that_is_refused_ends_its_request_alone() -> None:
    def read() -> tuple[bytes, ...]:
        raise Refusal("bad_request", "It is no JSON.")

    async def main() -> None:
        async with working(FakeBatches()) as desk:
            share = desk.crew.begin(read, eager=False, patience=Patience(20), on_done=desk.spent.append)
            assert isinstance((await whole(share)).error, Refusal)
            await answers_of(desk.ask(b"x"))
            assert len(desk.spent) == 2

    asyncio.run(main())


@dataclass
class Unfinished(FakeBatches):
    """Cannot finish an answer to five bytes."""

    def finish(self, answer: Answer) -> Answer:
        if answer.value == describe(b"fiver"):
            raise ValueError("secret")
        return answer


def test_an_answer_that_cannot_be_finished_fails_alone() -> None:
    async def main() -> None:
        async with working(Unfinished()) as desk:
            good, bad = await answers_of(desk.ask(b"good", b"fiver"))
            assert (good.value, bad.problem) == (describe(b"good"), FAILED)

    asyncio.run(main())


# --- who is gone, and who is late -----------------------------------------------------------------------


def test_who_is_gone_is_never_computed() -> None:
    servable = FakeBatches()

    async def main() -> None:
        async with working(servable) as desk:
            await busy(desk, servable)
            gone, stays = desk.ask(b"gone", b"gone too"), desk.ask(b"stays")
            await until(lambda: desk.crew.n_ready == 3)
            desk.crew.withdraw(gone)
            await until(lambda: len(desk.spent) == 1)
            assert not desk.spent[0].is_through
            assert desk.crew.n_ready == 1
            servable.gate.set()
            await answers_of(stays)
            desk.crew.withdraw(stays)  # as every request does at its end

    asyncio.run(main())
    assert servable.batches == [[b"first"], [b"stays"]]


def test_who_is_gone_before_its_body_was_read_costs_nothing() -> None:
    servable = FakeBatches()

    async def main() -> None:
        async with working(servable, largest=1) as desk:
            await busy(desk, servable)
            shares = [desk.ask(b"ahead") for _ in range(2)]
            await until(lambda: desk.crew.n_ready == 2)
            gone = desk.ask(b"gone")
            desk.crew.withdraw(gone)
            await until(lambda: len(desk.spent) == 1)
            servable.gate.set()
            for share in shares:
                await answers_of(share)

    asyncio.run(main())
    assert b"gone" not in servable.prepared


def test_a_deadline_that_has_passed_is_seen_when_a_batch_is_formed() -> None:
    servable, now = FakeBatches(), [100.0]

    async def main() -> None:
        async with working(servable, clock=lambda: now[0]) as desk:
            await busy(desk, servable)
            now[0] = 101.0
            late, patient = desk.ask(b"late", for_s=5), desk.ask(b"patient", for_s=50)
            await until(lambda: desk.crew.n_ready == 2)
            now[0] = 106.0
            servable.gate.set()
            await answers_of(patient)
            assert isinstance((await whole(late)).error, Late)
            await until(lambda: len(desk.spent) == 3)
            assert [(one.waited_s, one.is_through) for one in desk.spent if one.waited_s] == [(5.0, True)]

    asyncio.run(main())
    assert servable.batches == [[b"first"], [b"patient"]]


def test_what_is_being_computed_counts_until_it_is_over() -> None:
    servable = FakeBatches()

    async def main() -> None:
        async with working(servable) as desk:
            (first,) = await busy(desk, servable)
            desk.crew.withdraw(first)
            await asyncio.sleep(0.02)
            assert desk.spent == [], "the thread is still busy with it"
            servable.gate.set()
            await until(lambda: len(desk.spent) == 1)

    asyncio.run(main())


def test_a_crew_that_hangs_does_not_hold_up_the_end() -> None:
    servable = FakeBatches()

    async def main() -> None:
        crew = Crew(servable, 1)
        crew.start()
        await busy(Desk(crew), servable)
        assert not crew.stop(0.05)
        servable.gate.set()
        assert crew.stop(5)

    asyncio.run(main())


# --- batches that take in newcomers ---------------------------------------------------------------------


async def letters(share: Share, n: int) -> str:
    text = ""
    while len(text) < n:
        async with asyncio.timeout(20):
            batch = await share.next()
        assert batch.error is None
        text += "".join(str((answer.value or {})["text"]) for answer in batch.answers)
    return text


async def step(servable: Speller) -> None:
    """Allow a step, and wait until it was taken and the next one is due."""
    servable.allowed.release()
    assert await asyncio.to_thread(servable.entered.acquire, timeout=20)


def test_newcomers_join_a_batch_that_is_running() -> None:
    servable = Speller()

    async def main() -> None:
        async with working(servable, largest=2) as desk:
            first = desk.ask(b"abcdef")
            assert await asyncio.to_thread(servable.entered.acquire, timeout=20)
            await step(servable)
            assert await letters(first, 1) == "a", "pieces go out while the batch runs"
            second, third = desk.ask(b"xy"), desk.ask(b"z")
            await until(lambda: desk.crew.n_ready == 2)
            for _ in range(4):
                await step(servable)
            assert await letters(second, 2) == "xy"
            assert await letters(third, 1) == "z", "it came in when the second had left"
            servable.allowed.release(2)
            assert await letters(first, 5) == "bcdef"
            await until(lambda: len(desk.spent) == 3)
            await until(lambda: desk.crew.sizes == {3: 1})

    asyncio.run(main())
    assert servable.steps == [
        [b"abcdef"],
        [b"abcdef"],
        [b"abcdef", b"xy"],
        [b"abcdef", b"xy"],
        [b"abcdef", b"z"],
        [b"abcdef"],
    ]


def test_who_leaves_a_running_batch_makes_room() -> None:
    servable, sizes = Speller(), []

    async def main() -> None:
        async with working(servable, largest=1) as desk:
            gone = desk.ask(b"never ending")
            assert await asyncio.to_thread(servable.entered.acquire, timeout=20)
            stays = desk.ask(b"ok")
            await until(lambda: desk.crew.n_ready == 1)
            desk.crew.withdraw(gone)
            servable.allowed.release(3)
            assert await letters(stays, 2) == "ok"
            await until(lambda: len(desk.spent) == 2)
            sizes.append(desk.crew.sizes)

    asyncio.run(main())
    assert servable.steps == [[b"never ending"], [b"ok"], [b"ok"]]
    assert sizes == [{2: 1}], "it was one batch"


def test_newcomers_of_another_key_are_not_overtaken_by_a_running_batch() -> None:
    servable = Speller()

    async def main() -> None:
        async with working(servable, largest=4) as desk:
            first = desk.ask(b"a:12")
            assert await asyncio.to_thread(servable.entered.acquire, timeout=20)
            other = desk.ask(b"b:1")
            await until(lambda: desk.crew.n_ready == 1)
            same = desk.ask(b"a:3")
            await until(lambda: desk.crew.n_ready == 2)
            servable.allowed.release(20)
            for share, text in ((first, "a:12"), (other, "b:1"), (same, "a:3")):
                assert await letters(share, len(text)) == text

    asyncio.run(main())
    assert [b"a:12", b"a:3"] not in servable.steps
    assert servable.steps.index([b"b:1"]) < servable.steps.index([b"a:3"])


@dataclass
class Stumbling(Speller):
    """Breaks at the second letter of any input that is ``stumble``."""

    def _letter(self, number: int, word: bytes, place: int) -> Answer:
        if word == b"stumble" and place == 1:
            raise ValueError("secret")
        return Speller._letter(self, number, word, place)


def test_a_stream_that_has_begun_is_not_begun_again() -> None:
    servable = Stumbling()
    servable.allowed.release(50)

    async def main() -> None:
        async with working(servable) as desk:
            share = desk.ask(b"stumble")
            assert await letters(share, 1) == "s"
            assert str((await whole(share)).error) == "secret"

    asyncio.run(main())
    assert servable.steps == [[b"stumble"], [b"stumble"]]


def test_who_has_heard_nothing_yet_is_begun_again_and_alone() -> None:
    servable = Stumbling()

    async def main() -> None:
        async with working(servable) as desk:
            bad = desk.ask(b"stumble")
            assert await asyncio.to_thread(servable.entered.acquire, timeout=20)
            good = desk.ask(b"good")
            await until(lambda: desk.crew.n_ready == 1)
            servable.allowed.release(50)
            assert await letters(good, 4) == "good"
            assert await letters(bad, 1) == "s"
            assert str((await whole(bad)).error) == "secret"

    asyncio.run(main())
    assert servable.steps == [[b"stumble"], [b"stumble", b"good"], *[[b"good"]] * 4]


# --- all of it at once ----------------------------------------------------------------------------------

KINDS = (b"x", b"long:x", b"bad", b"boom", b"trap", b"silent")


@dataclass
class Slow(FakeBatches):
    """Takes a moment, and notes how many batches ran at once."""

    n_inside: int = 0
    most: int = 0
    lock: Any = field(default_factory=threading.Lock)

    def compute(self, prepared: Sequence[bytes], intake: Intake) -> Iterator[Answer]:
        with self.lock:
            self.n_inside += 1
            self.most = max(self.most, self.n_inside)
        time.sleep(0.0005)
        try:
            yield from FakeBatches.compute(self, prepared, intake)
        finally:
            with self.lock:
                self.n_inside -= 1


def check(given: bytes, answer: Answer) -> None:
    if given.startswith(b"bad"):
        assert answer.problem is not None
        assert answer.problem.startswith("It is no photo")
    elif given.startswith((b"boom", b"trap", b"silent")):
        assert answer.problem == FAILED
    else:
        assert answer.value == describe(given)


async def visit(desk: Desk, rng: random.Random) -> int:
    """Ask, perhaps leave, and check every answer; return how many there were."""
    inputs = [rng.choice(KINDS) + b"x" * rng.randrange(50) for _ in range(rng.randrange(1, 7))]
    share = desk.ask(*inputs, eager=rng.random() < 0.3)
    if rng.random() < 0.2:
        await asyncio.sleep(rng.random() * 0.01)
        desk.crew.withdraw(share)
        return 0
    found: list[Answer] = []
    while True:
        async with asyncio.timeout(20):
            batch = await share.next()
        found += batch.answers
        if batch.finished:
            break
    if batch.error is not None:
        assert all(one.startswith((b"boom", b"trap", b"silent")) for one in inputs)
        return 0
    assert sorted(answer.index for answer in found) == list(range(len(inputs)))
    for answer in found:
        check(inputs[answer.index], answer)
    return len(found)


def test_hundreds_of_requests_get_each_its_own_answers() -> None:
    servable, rng = Slow(), random.Random(11)

    async def main() -> None:
        async with working(servable, n_slots=2, largest=8, n_preparing=3) as desk:
            counts = await asyncio.gather(*(visit(desk, rng) for _ in range(400)))
            assert sum(counts) > 700
            await until(lambda: len(desk.spent) == 400)
            assert desk.crew.n_waiting == desk.crew.n_ready == 0

    asyncio.run(main())
    assert max(map(len, servable.batches)) == 8
    assert servable.most <= 2


def test_an_answer_keeps_its_traits() -> None:
    class Traits(FakeBatches):
        def _answers(self, index: int, given: bytes) -> Iterator[Answer]:
            yield Answer(index, describe(given), traits=(0.5, len(given)))

    async def main() -> None:
        async with working(Traits()) as desk:
            (answer,) = await answers_of(desk.ask(b"22"))
            assert answer.traits == (0.5, 2)

    asyncio.run(main())
