"""A version that is asked beside: what counts as the same answer, and that it only works while nobody waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from fake_servable import FakeServable
from topwork.contracts import Answer, Json
from topwork.serving.http.bodies import Unreadable
from topwork.serving.traffic.shadows import Shadow, agree

SAME: list[tuple[Any, Any]] = [
    ({"label": "a", "p": 0.50}, {"label": "a", "p": 0.54}),
    ({"value": 100.0}, {"value": 104}),
    ({"labels": ["a", "b"]}, {"labels": ("a", "b")}),
    ({"low": None}, {"low": None}),
    ([1.0, 2.0], [1.01, 2.0]),
]
OTHER: list[tuple[Any, Any]] = [
    ({"label": "a", "p": 0.50}, {"label": "b", "p": 0.50}),
    ({"label": "a", "p": 0.50}, {"label": "a", "p": 0.56}),
    ({"value": 100.0}, {"value": 106.0}),
    ({"n": 3}, {"n": 4}),
    ({"n": 1}, {"n": True}),
    ({"labels": ["a"]}, {"labels": ["a", "b"]}),
    ({"a": 1}, {"b": 1}),
    ({"low": None}, {"low": 0.0}),
    ("1", 1),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_is_the_same(one: Any, other: Any) -> None:
    assert agree(one, other, 0.05)
    assert agree(other, one, 0.05)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_what_is_not(one: Any, other: Any) -> None:
    assert not agree(one, other, 0.05)
    assert not agree(other, one, 0.05)


@dataclass
class Stepped(FakeServable):
    """Answers an input whenever the test lets it."""

    step: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def _answers(self, index: int, given: bytes) -> Iterator[Answer]:
        assert self.step.acquire(timeout=20)
        yield from super()._answers(index, given)


def answers(*inputs: bytes) -> tuple[Answer, ...]:
    return tuple(FakeServable().submit(inputs))


def settled(shadow: Shadow) -> Mapping[str, Json]:
    until = time.monotonic() + 20
    while not shadow.is_free:
        assert time.monotonic() < until
        time.sleep(0.002)
    return shadow.compared.to_json()


def offered(
    shadow: Shadow, *inputs: bytes, live: Sequence[Answer] = (), quiet: Callable[[], bool] = lambda: True
) -> None:
    shadow.offer(lambda: inputs, live or answers(*inputs), quiet)


def test_it_counts_what_agrees_and_what_differs() -> None:
    shadow = Shadow(FakeServable(), 0.05)
    offered(shadow, b"a", b"bb", b"bad")
    assert settled(shadow) == {"agreed": 3, "differed": 0, "failed": 0, "dropped": 0}
    offered(shadow, b"a", live=answers(b"four"))
    assert settled(shadow)["differed"] == 1
    offered(shadow, b"bad", live=answers(b"a"))
    assert settled(shadow)["failed"] == 1
    assert shadow.compared.took.cumulated()[-1][1] == 5


def test_an_input_that_cannot_be_read_is_asked_of_nobody() -> None:
    servable = FakeServable()
    shadow = Shadow(servable, 0.05)
    live = (Answer(0, None, "no base64"), Answer(1, next(FakeServable().submit([b"x"])).value))
    shadow.offer(lambda: (Unreadable("no base64"), b"x"), live, lambda: True)
    assert settled(shadow)["agreed"] == 2
    assert servable.seen == [b"x"]


def test_a_mistake_of_it_is_counted_and_told_and_it_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    shadow = Shadow(FakeServable(), 0.05)
    offered(shadow, b"boom", live=answers(b"a"))
    assert settled(shadow)["failed"] == 1
    assert "a shadow, failed" in caplog.text
    offered(shadow, b"a")
    assert settled(shadow)["agreed"] == 1


def test_it_keeps_one_request_and_drops_what_comes_meanwhile() -> None:
    servable = Stepped()
    shadow = Shadow(servable, 0.05)
    offered(shadow, b"a")
    for _ in range(3):
        offered(shadow, b"b")
    servable.step.release()
    assert settled(shadow) == {"agreed": 1, "differed": 0, "failed": 0, "dropped": 3}
    assert servable.seen == [b"a"]


def test_while_there_is_something_to_do_it_is_not_asked() -> None:
    servable = FakeServable()
    shadow = Shadow(servable, 0.05)
    offered(shadow, b"a", quiet=lambda: False)
    assert settled(shadow)["dropped"] == 1
    assert servable.seen == []


def test_it_stops_before_the_next_input_when_a_request_comes() -> None:
    servable, quiet = Stepped(), threading.Event()
    quiet.set()
    shadow = Shadow(servable, 0.05)
    offered(shadow, b"a", b"b", b"c", quiet=quiet.is_set)
    servable.step.release()
    until = time.monotonic() + 20
    while shadow.compared.agreed < 1:
        assert time.monotonic() < until
        time.sleep(0.002)
    quiet.clear()
    servable.step.release(2)
    told = settled(shadow)
    assert told["dropped"] == 1
    assert servable.seen in ([b"a"], [b"a", b"b"])
