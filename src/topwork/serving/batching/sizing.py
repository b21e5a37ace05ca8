"""How large a batch may be, by how long batches take. It knows no thread and nothing of what is computed."""

from __future__ import annotations

import time
from collections.abc import Hashable
from itertools import cycle, islice
from math import inf
from typing import TYPE_CHECKING, Any, Final

from topwork.contracts import NobodyElse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from topwork.contracts import Batchable, Clock

__all__ = ["DEADLINE_SHARE", "GAIN", "SIZES", "batch_limit", "measured", "service_times", "warm_up"]

SIZES: Final = (1, 2, 4, 8, 16, 32, 64)
"""Sizes that are timed, as far as they are worth it."""

GAIN: Final = 0.1
"""A larger batch must answer this share more inputs per second; else a smaller one answers sooner for nothing."""

DEADLINE_SHARE: Final = 0.25
"""Of the deadline, the longest that a batch may take: one may be under way when a request comes, the next is its own,
and as much again is left for the way there and back."""

_FEWEST_RUNS, _MOST_RUNS = 2, 6
_ENOUGH_S = 0.1
"""For one size; the fastest of its runs counts, because what slows one down is something else on the machine."""
_ALL_S = 1.0
"""After as long in all, no larger size is tried: a server is to be ready soon."""


_WARMING_S = 0.5


def batch_limit(times: Mapping[int, float], deadline_s: float) -> int:
    """Return the most inputs that a batch may have.

    It is the smallest size beyond which no other one answers `GAIN` more inputs per second, of those that take no
    more than `DEADLINE_SHARE` of the deadline; 1 where none does.

    Parameters
    ----------
    times
        Number of inputs to the seconds that a batch of as many takes.
    deadline_s
        Within which a request is to be answered.
    """
    rates = {n: n / max(took, 1e-9) for n, took in times.items() if took <= DEADLINE_SHARE * deadline_s}
    best = max(rates.values(), default=0.0)
    return min((n for n, rate in rates.items() if rate * (1 + GAIN) >= best), default=1)


def measured(servable: Batchable, deadline_s: float, n_slots: int) -> dict[int, float]:
    """Return the seconds that batches take, as of `service_times`; those of every size that may come are warm then.

    Parameters
    ----------
    n_slots
        Batches that are computed at once.

    One that offers ``n_together`` takes as many at once, and none of its batches is timed: whoever writes a text token
    by token takes newcomers in at every step, and is the quicker per text the more there are.
    """
    if (n_together := getattr(servable, "n_together", None)) is not None:
        return {n_together: 0.0}
    times = service_times(servable, deadline_s)
    largest = batch_limit(times, deadline_s)
    warm_up(servable, (n for n in range(1, largest) if n not in times), n_slots)
    return times


def service_times(
    servable: Batchable, deadline_s: float, clock: Clock = time.perf_counter
) -> dict[int, float]:
    """Return the seconds that batches take, by their size; each size is warm then.

    It stops where a batch takes too much of the deadline, or where the last two sizes gained nothing.
    """
    like = _alike(servable)
    times: dict[int, float] = {}
    began = clock()
    for n in SIZES if like else ():
        batch = list(islice(cycle(like), n))
        times[n] = _fastest(lambda batch=batch: _drain(servable, batch), clock)  # type: ignore[misc]
        if times[n] > DEADLINE_SHARE * deadline_s or clock() - began > _ALL_S or _is_flat(times):
            break
    return times


def warm_up(
    servable: Batchable, sizes: Iterable[int], n_times: int, clock: Clock = time.perf_counter
) -> None:
    """Run batches of more sizes, each as often as there are streams: an engine takes longer over what is new to it.

    It stops after half a second; what is left is new when it comes.
    """
    like, until = _alike(servable), clock() + _WARMING_S
    for n in sizes if like else ():
        for _ in range(n_times):
            if clock() >= until:
                return
            _drain(servable, list(islice(cycle(like), n)))


def _alike(servable: Batchable) -> list[Any]:
    """Return those samples of one key that are most."""
    groups: dict[Hashable, list[Any]] = {}
    for one in servable.samples():
        groups.setdefault(servable.key(one), []).append(one)
    return max(groups.values(), key=len, default=[])


def _drain(servable: Batchable, batch: Sequence[Any]) -> None:
    for _ in servable.compute(batch, NobodyElse()):
        pass


def _fastest(run: Callable[[], None], clock: Clock) -> float:
    found, until = inf, clock() + _ENOUGH_S
    for n_runs in range(1, _MOST_RUNS + 1):
        began = clock()
        run()
        found = min(found, clock() - began)
        if n_runs >= _FEWEST_RUNS and clock() >= until:
            break
    return found


def _is_flat(times: Mapping[int, float]) -> bool:
    """Tell whether neither of the last two sizes was worth it."""
    rates = [n / max(took, 1e-9) for n, took in times.items()]
    return len(rates) > 2 and max(rates[-2:]) < (1 + GAIN) * max(rates[:-2])
