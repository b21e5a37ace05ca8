"""Who will wait for the whole budget is told while inputs are read, once, and nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from topwork.contracts import Budget
from topwork.steps.forewarning import Forewarning


@dataclass
class Heard:
    """Keeps what is said, the counts that it is given, and how many there were when something was said."""

    lines: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    said_at: list[int] = field(default_factory=list)
    opened: list[tuple[str, int, str]] = field(default_factory=list)

    def say(self, line: str) -> None:
        self.lines.append(line)
        self.said_at.append(len(self.counts))

    @contextmanager
    def track(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        self.opened.append((title, total, unit))
        yield self.counts.append


@dataclass
class Watch:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def read(costs_s: list[float], budget_s: float) -> Heard:
    """Read inputs that take so long each; return what was heard."""
    watch, heard = Watch(), Heard()
    warned = Forewarning(heard, Budget(watch, budget_s), "So it is.")
    with warned.track("Reading", len(costs_s), "inputs") as advance:
        for cost_s in costs_s:
            watch.now_s += cost_s
            advance(1)
    return heard


def test_reading_that_takes_longer_than_the_budget_is_told_after_seconds_and_once() -> None:
    heard = read([1.0] * 600, 300.0)
    assert heard.lines == [
        "Note: Reading takes about 9 min 54 s more, and 4 min 54 s of the budget are left. So it is."
    ]
    assert heard.said_at == [6]


@pytest.mark.parametrize(
    "costs_s",
    [
        [1.0] * 290,
        [60.0, *[0.3] * 700],  # the first result waited for the network
        [0.0] * 1000,
    ],
)
def test_reading_that_fits_is_not_told(costs_s: list[float]) -> None:
    assert read(costs_s, 300.0).lines == []


def test_what_came_out_of_the_cache_does_not_count_for_the_rate() -> None:
    assert read([0.0] * 500 + [1.0] * 600, 300.0).said_at == [510]


def test_without_a_budget_nothing_is_too_long() -> None:
    assert read([10.0] * 1000, float("inf")).lines == []


def test_lines_and_counts_are_handed_on() -> None:
    heard = Heard()
    warned = Forewarning(heard, Budget(Watch(), 1.0), "")
    warned.say("so")
    with warned.track("Reading", 3, "inputs") as advance:
        advance(2)
        advance(1)
    assert heard.lines == ["so"]
    assert heard.opened == [("Reading", 3, "inputs")]
    assert heard.counts == [2, 1]
