"""One request's answers: together or as they come, complete or not, and what became of those that failed."""

from __future__ import annotations

import asyncio

from topwork.contracts import Answer
from topwork.serving.batching.patience import Patience
from topwork.serving.batching.share import FAILED, MOST_UNREAD, Item, Late, Share, Spent
from topwork.serving.batching.work import Batch
from topwork.serving.http.refusals import Refusal


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def share_of(n_inputs: int, *, eager: bool = False) -> Share:
    share = Share(tuple, eager=eager, patience=Patience(100.0), on_done=lambda _: None, clock=Hands())
    share.open()
    assert share.expect(n_inputs) is None
    return share


def told(batch: Batch | None) -> tuple[list[int], bool, type[Exception] | None]:
    assert batch is not None
    error = None if batch.error is None else type(batch.error)
    return [answer.index for answer in batch.answers], batch.finished, error


def test_whole_answers_come_together_and_pieces_at_once() -> None:
    share = share_of(3)
    assert share.receive(Answer(1, {})) is None
    assert told(share.receive(Answer(0, {}, last=False))) == ([1, 0], False, None)
    assert share.receive(Answer(0, {})) is None
    assert told(share.receive(Answer(2, {}))) == ([0, 2], True, None)


def test_a_piece_renews_the_patience_but_not_beyond_that_for_the_whole() -> None:
    clock = Hands()
    patience = Patience(10.0, each_s=5.0, whole_s=17.0)
    share = Share(tuple, eager=True, patience=patience, on_done=lambda _: None, clock=clock)
    share.open()
    share.expect(2)
    clock.now_s += 9.0
    share.receive(Answer(0, {}, last=False))
    assert share.is_wanted(clock.now_s + 4.9)
    assert not share.is_wanted(clock.now_s + 5.1)
    clock.now_s += 4.0
    share.receive(Answer(0, {}, last=False))
    assert share.is_wanted(116.9)
    assert not share.is_wanted(117.0)


def test_a_whole_answer_of_several_renews_nothing() -> None:
    clock = Hands()
    patience = Patience(10.0, each_s=10.0)
    share = Share(tuple, eager=True, patience=patience, on_done=lambda _: None, clock=clock)
    share.open()
    share.expect(2)
    clock.now_s += 9.0
    share.receive(Answer(0, {}))
    assert not share.is_wanted(clock.now_s + 1.1)


def test_an_eager_one_hands_on_each() -> None:
    share = share_of(2, eager=True)
    assert told(share.receive(Answer(0, {}))) == ([0], False, None)
    assert told(share.receive(Answer(1, {}))) == ([1], True, None)


def test_what_fails_is_told_in_its_place_where_others_have_answers() -> None:
    share = share_of(2)
    assert share.fail(0, ValueError("secret")) is None
    batch = share.receive(Answer(1, {}))
    assert told(batch) == ([1, 0], True, None)
    assert batch is not None
    assert batch.answers[1].problem == FAILED
    assert "secret" not in FAILED


def test_where_all_fail_the_request_does() -> None:
    for n_inputs in (1, 2):
        share = share_of(n_inputs)
        batches = [share.fail(index, ValueError()) for index in range(n_inputs)]
        assert told(batches[-1]) == ([], True, ValueError)


def test_an_eager_one_is_told_of_each_failure_but_of_its_only_input() -> None:
    share = share_of(2, eager=True)
    assert told(share.fail(1, ValueError())) == ([1], False, None)
    alone = share_of(1, eager=True)
    assert told(alone.fail(0, ValueError())) == ([], True, ValueError)


def test_what_is_dropped_ends_it_late() -> None:
    share = share_of(2)
    assert share.receive(Answer(0, {})) is None
    assert told(share.drop(1)) == ([0], True, Late)


def test_a_body_that_cannot_be_read_ends_it() -> None:
    share = Share(tuple, eager=False, patience=Patience(100.0), on_done=lambda _: None, clock=Hands())
    assert told(share.end(Refusal("bad_request", "It is no JSON."))) == ([], True, Refusal)


def test_nobody_keeps_answers_for_who_is_gone() -> None:
    share = share_of(2)
    share.is_gone = True
    assert share.receive(Answer(0, {})) is None
    assert told(share.receive(Answer(1, {}))) == ([], True, None)


def test_a_stream_that_nobody_reads_is_given_up() -> None:
    share = share_of(1)
    for _ in range(MOST_UNREAD):
        share.receive(Answer(0, {}, last=False))
        assert not share.is_gone
    share.receive(Answer(0, {}, last=False))
    assert share.is_gone
    assert told(share.drop(1)) == ([], True, Refusal)


def test_waiting_is_what_was_neither_reading_nor_preparing_nor_computing() -> None:
    clock, spent = Hands(), list[Spent]()
    share = Share(tuple, eager=False, patience=Patience(100.0), on_done=spent.append, clock=clock)
    clock.now_s = 101.0  # a second until a thread had time for its body
    share.open()
    share.expect(2)
    first, second = (Item(share, index, b"", since_s=103.0) for index in range(2))
    share.begin(first, 107.0)  # two to read and prepare it, and four in line
    share.begin(second, 120.0)
    share.receive(Answer(0, {}))
    last = share.receive(Answer(1, {}))
    clock.now_s = 130.0
    assert last is not None
    share.put(last)
    assert spent == [Spent(total_s=30.0, waited_s=5.0, is_through=True)]


def test_who_never_came_to_be_read_was_not_through() -> None:
    spent = list[Spent]()
    share = Share(tuple, eager=False, patience=Patience(100.0), on_done=spent.append, clock=Hands())
    share.is_gone = True
    last = share.drop(1)
    assert last is not None
    share.put(last)
    assert [one.is_through for one in spent] == [False]


def test_what_was_put_is_read_in_order() -> None:
    async def main() -> list[int]:
        share = share_of(2, eager=True)
        reading = asyncio.create_task(share.next())
        await asyncio.sleep(0)
        for index in range(2):
            batch = share.receive(Answer(index, {}))
            assert batch is not None
            share.put(batch)
        return [(await reading).answers[0].index, (await share.next()).answers[0].index]

    assert asyncio.run(main()) == [0, 1]
