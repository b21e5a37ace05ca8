"""Engines timed beside each other: who runs when, and what the figures are. The clock is one that engines advance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import pytest

from topwork.contracts import Array, Precision
from topwork.engines.pace import Pace, Spread, Workload, measure


@dataclass
class Hands:
    """A clock that stands still unless somebody works."""

    now_s: float = 0.0
    lock: Lock = field(default_factory=Lock)

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Slow:
    """Takes ``call_s`` and ``item_s`` for each input of a batch, and writes down that it ran."""

    name: str
    clock: Hands
    call_s: float
    item_s: float
    ran: list[str] = field(default_factory=list)
    n_streams: int = 1
    precision: Precision = "fp32"
    version: str = "1"

    def run(self, batch: Array) -> Mapping[str, Array]:
        with self.clock.lock:
            self.clock.now_s += self.call_s + self.item_s * len(batch)
            self.ran.append(self.name)
        return {}


WORK = Workload([np.zeros((1, 2)), np.zeros((1, 2))], np.zeros((16, 2)))


def measured(*costs: tuple[float, float], n_rounds: int = 5) -> tuple[tuple[Pace, ...], list[str], list[int]]:
    clock, ran, turns = Hands(), [], []  # type: ignore[var-annotated]
    engines = [Slow(str(i), clock, call_s, item_s, ran) for i, (call_s, item_s) in enumerate(costs)]
    paces = measure(engines, WORK, clock=clock, advance=turns.append, n_rounds=n_rounds)
    return paces, ran, turns


def test_the_figures_are_those_of_the_engine() -> None:
    (first, second), _, turns = measured((0.01, 0.001), (0.002, 0.004))
    np.testing.assert_allclose(first.single_s, 0.011)
    np.testing.assert_allclose(first.items_per_s, 16 / 0.026)
    assert first.single_s.shape == first.items_per_s.shape == (5,)
    assert second.times(first).median == pytest.approx(0.026 / 0.066)
    assert second.sooner(first).median == pytest.approx(0.011 / 0.006)
    assert turns == [1] * 10


def test_engines_take_turns_and_none_always_begins() -> None:
    _, ran, _ = measured((0.2, 0.0), (0.2, 0.0), (0.2, 0.0), n_rounds=3)
    changes = [name for i, name in enumerate(ran) if i == 0 or ran[i - 1] != name]
    warming_up, rounds = "012", "012" + "120" + "201"
    assert "".join(changes) == warming_up + rounds
    assert [ran.count(name) for name in "012"] == [ran.count("0")] * 3


def test_a_slice_is_filled_with_calls() -> None:
    _, quick, _ = measured((0.001, 0.0), n_rounds=1)
    _, slow, _ = measured((5.0, 0.0), n_rounds=1)
    assert len(quick) > 200
    assert len(slow) < 15  # two inputs and a batch, warmed up, tried and timed once


def test_a_spread_is_median_and_quartiles() -> None:
    spread = Spread.of(np.array([1.0, 2.0, 3.0, 4.0, 9.0]))
    assert spread == Spread(3.0, 2.0, 4.0)
    assert spread.width == pytest.approx(2 / 3)


def test_ratios_are_of_the_same_round() -> None:
    first = Pace(np.array([1.0, 2.0, 4.0]), np.array([10.0, 20.0, 40.0]))
    twice = Pace(first.single_s / 2, first.items_per_s * 2)
    assert twice.times(first) == Spread(2.0, 2.0, 2.0)  # however much the machine changed in between
    assert twice.sooner(first) == Spread(2.0, 2.0, 2.0)


def test_all_streams_are_kept_busy() -> None:
    clock, ran = Hands(), []  # type: ignore[var-annotated]
    engine = Slow("0", clock, 0.0, 0.01, ran, n_streams=3)
    (pace,) = measure([engine], WORK, clock=clock, advance=lambda _: None, n_rounds=1)
    # This clock adds up what streams do at once, so three of them give what one would.
    np.testing.assert_allclose(pace.items_per_s, 100, rtol=1e-6)
    n_single = 2 * len(WORK.singles) + 16  # warmed up, tried, and a slice of 0.15 s
    assert (len(ran) - n_single) % 3 == 0
