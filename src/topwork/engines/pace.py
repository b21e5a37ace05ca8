"""How fast engines are beside each other on the machine at hand: rounds in which each has its turn.

Machines slow down and speed up while one measures: another process, a warmer processor. So no engine is measured to
its end before the next begins; they take turns in short rounds, in another order each time, and what is compared are
figures of the same round. It knows nothing of what the engines run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from topwork.contracts import Array, Clock, Engine

__all__ = ["N_ROUNDS", "Pace", "Spread", "Workload", "measure"]

N_ROUNDS: Final = 9
SLICE_S: Final = 0.15
"""What one engine does in one round, once singly and once in batches; a single call may take longer."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The median over rounds, and the quartiles: half of the rounds lie between ``low`` and ``high``."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Array) -> Spread:
        """Summarise values ``float64 [rounds]``."""
        low, median, high = (float(one) for one in np.quantile(values, (0.25, 0.5, 0.75)))
        return cls(median, low, high)

    @property
    def width(self) -> float:
        """The distance of the quartiles relative to the median."""
        return (self.high - self.low) / self.median


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """What engines are timed on.

    Attributes
    ----------
    singles
        Batches ``[1, ...]`` that are run one after the other, by one caller.
    batch
        ``[n, ...]``, run by as many callers at once as the engine has streams.
    """

    singles: Sequence[Array]
    batch: Array


@dataclass(frozen=True, slots=True, eq=False)
class Pace:
    """How fast an engine was in each round.

    Attributes
    ----------
    single_s
        Seconds from an input to its answer where nothing else is asked, ``float64 [rounds]``.
    items_per_s
        Inputs per second in batches, all streams busy, ``float64 [rounds]``.
    """

    single_s: Array
    items_per_s: Array

    def times(self, other: Pace) -> Spread:
        """Return how many times as many inputs per second as another of the same rounds."""
        return Spread.of(self.items_per_s / other.items_per_s)

    def sooner(self, other: Pace) -> Spread:
        """Return how many times as soon a single input is answered as by another of the same rounds."""
        return Spread.of(other.single_s / self.single_s)


def measure(
    engines: Sequence[Engine],
    work: Workload,
    *,
    clock: Clock,
    advance: Callable[[int], None],
    n_rounds: int = N_ROUNDS,
) -> tuple[Pace, ...]:
    """Time engines in rounds, in which each has its turn.

    Parameters
    ----------
    advance
        Called with 1 after each engine of each round.
    """
    calls = [_calls(engine, work, clock) for engine in engines]
    single_s = np.zeros((len(engines), n_rounds))
    items_per_s = np.zeros((len(engines), n_rounds))
    for turn in range(n_rounds):
        for place in np.roll(np.arange(len(engines)), -turn).tolist():
            n_single, n_batches = calls[place]
            single_s[place, turn] = _time_single(engines[place], work.singles, n_single, clock)
            items_per_s[place, turn] = _time_batches(engines[place], work.batch, n_batches, clock)
            advance(1)
    return tuple(Pace(*both) for both in zip(single_s, items_per_s, strict=True))


def _calls(engine: Engine, work: Workload, clock: Clock) -> tuple[int, int]:
    """Warm an engine up, and return how many calls of each kind fill a slice: every single input once at least."""
    n_singles = len(work.singles)
    _time_single(engine, work.singles, n_singles, clock)
    single_s = _time_single(engine, work.singles, n_singles, clock)
    _time_batches(engine, work.batch, 1, clock)
    batch_s = len(work.batch) * engine.n_streams / _time_batches(engine, work.batch, 1, clock)
    n_passes = max(1, round(SLICE_S / max(single_s * n_singles, 1e-9)))
    return n_passes * n_singles, max(1, round(SLICE_S / max(batch_s, 1e-9)))


def _time_single(engine: Engine, singles: Sequence[Array], n_calls: int, clock: Clock) -> float:
    """Return the seconds of a call, the mean over calls."""
    began_s = clock()
    for call in range(n_calls):
        engine.run(singles[call % len(singles)])
    return max(clock() - began_s, 1e-9) / n_calls


def _time_batches(engine: Engine, batch: Array, n_calls: int, clock: Clock) -> float:
    """Return the inputs per second of as many callers as there are streams, each with so many calls."""
    n_callers = engine.n_streams
    with ThreadPoolExecutor(n_callers, thread_name_prefix="topwork-pace") as pool:
        list(pool.map(engine.run, [batch[:1]] * n_callers))  # so that the threads are there
        began_s = clock()
        list(pool.map(engine.run, [batch] * (n_calls * n_callers)))
        took_s = max(clock() - began_s, 1e-9)
    return n_calls * n_callers * len(batch) / took_s
