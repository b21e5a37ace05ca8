"""How many worker processes a model is to have, from the requests that it has in flight: a rule without a clock.

The rule, its names and its defaults are those of Cortex (``pkg/autoscaler`` of cortexlabs/cortex). Nothing here starts
a process or looks at the time: whoever asks says how it is now, and keeps what was.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import ceil, inf
from typing import Annotated, Final

from topwork.errors import UsageError
from topwork.serving.settings.kinds import Count, Duration, Number

__all__ = ["Moment", "Past", "Policy", "decided", "recommended", "tick_s"]

MOST_REPLICAS: Final = 128
MOST_THREADS: Final = 4096
"""Requests at work at once in all worker processes of a model; each holds a thread of the server."""

LONGEST_TICK_S: Final = 10.0
TICKS_OF_A_WINDOW: Final = 6


@dataclass(frozen=True, slots=True)
class Policy:
    """How many worker processes a model has; without `max_replicas` none, and the rest says nothing then."""

    min_replicas: Annotated[
        int,
        Count("Fewest worker processes; with 0 the last one ends when nothing was asked for long.", least=0),
    ] = 1
    max_replicas: Annotated[
        int | None,
        Count(
            "Most worker processes; without it the model runs in the server's own process.",
            most=MOST_REPLICAS,
        ),
    ] = None
    init_replicas: Annotated[
        int | None, Count("Worker processes at the start; by default min_replicas, and at least 1.")
    ] = None
    target_in_flight: Annotated[
        float | None,
        Number(
            "Requests at work and in line that there are to be for each worker process; by default max_concurrency, or "
            "as many as it computes at once.",
            least=0.01,
        ),
    ] = None
    max_concurrency: Annotated[
        int | None,
        Count(
            "Requests at work at once in a worker process; by default as many as keep its engine busy.",
            most=1024,
        ),
    ] = None
    max_queue_length: Annotated[
        int | None,
        Count(
            "Requests in line, times max_replicas; the next one gets a 429. By default max_waiting.", least=0
        ),
    ] = None
    window_s: Annotated[float, Duration("Time over which the requests in flight are averaged.")] = 60.0
    upscale_stabilization_period_s: Annotated[
        float,
        Duration("There come to be no more processes than the least that was recommended in this time."),
    ] = 60.0
    downscale_stabilization_period_s: Annotated[
        float,
        Duration("There come to be no fewer processes than the most that were recommended in this time."),
    ] = 300.0
    max_upscale_factor: Annotated[
        float, Number("Most processes after a step up, as a multiple; one more is always allowed.", least=1)
    ] = 1.5
    max_downscale_factor: Annotated[
        float,
        Number(
            "Fewest processes after a step down, as a share; one fewer is always allowed.", least=0, most=1
        ),
    ] = 0.75
    upscale_tolerance: Annotated[
        float,
        Number("Share by which the load may be above the processes with nothing done.", least=0, most=1),
    ] = 0.05
    downscale_tolerance: Annotated[
        float,
        Number("Share by which the load may be below the processes with nothing done.", least=0, most=1),
    ] = 0.05

    def __post_init__(self) -> None:
        if self.max_replicas is None:
            self._require_nothing()
            return
        first = self.n_first
        if not self.min_replicas <= first <= self.max_replicas:
            raise UsageError(
                f"min_replicas is {self.min_replicas}, init_replicas {first} and max_replicas {self.max_replicas}; "
                "expected none of them below the one before it.",
                next_step="Raise max_replicas, or lower the others.",
            )
        if (n_threads := self.max_replicas * (self.max_concurrency or 1)) > MOST_THREADS:
            raise UsageError(
                f"max_replicas times max_concurrency is {n_threads}; expected at most {MOST_THREADS}.",
                next_step="Lower one of them.",
            )

    def _require_nothing(self) -> None:
        given = [one.name for one in fields(self) if getattr(self, one.name) != one.default]
        if given:
            raise UsageError(
                f"{given[0].removesuffix('_s')} is given, and max_replicas is not: there are no worker processes.",
                next_step="Say max_replicas, or leave the others out.",
            )

    @property
    def n_most(self) -> int:
        """Most processes; 0 where the model runs in the server's own."""
        return self.max_replicas or 0

    @property
    def n_first(self) -> int:
        """Processes at the start; at least one, which proves the model."""
        return max(1, self.min_replicas) if self.init_replicas is None else self.init_replicas

    @property
    def n_line(self) -> int | None:
        """Requests that may stand in line for all processes together; None where the server's limit holds."""
        return None if self.max_queue_length is None else self.max_queue_length * self.n_most

    def completed(self, n_at_once: int, n_seats: int | None = None) -> Policy:
        """Return the policy with nothing left open.

        Parameters
        ----------
        n_at_once
            Requests on which a process can well work at once.
        n_seats
            Those that are to be at it, so that it can; None for as many.
        """
        n_open = min(n_seats or n_at_once, max(1, MOST_THREADS // max(1, self.n_most)))
        n_each = self.max_concurrency or n_open
        target = self.target_in_flight
        if target is None:
            target = float(self.max_concurrency or min(n_at_once, n_open))
        return replace(self, max_concurrency=n_each, target_in_flight=target)


@dataclass(frozen=True, slots=True)
class Moment:
    """How it is now.

    Attributes
    ----------
    at_s
        Reading of a clock.
    request_s
        Seconds that requests were in flight, summed over all requests since any fixed moment. The difference of two
        such sums by the time between them is the average in flight, and no request is too short to be seen.
    n_replicas
        Processes that are wanted as it is.
    """

    at_s: float
    request_s: float
    n_replicas: int


@dataclass(frozen=True, slots=True)
class Past:
    """What was, as far as it still counts.

    Attributes
    ----------
    began_s
        When the model began to be served.
    sums
        Moments with `Moment.request_s` at each, in their order; the first is a window old, should one be.
    advice
        Moments with what was recommended at each.
    woken_s
        When the model was last woken, or had its first process again.
    """

    began_s: float
    sums: tuple[tuple[float, float], ...] = ()
    advice: tuple[tuple[float, int], ...] = ()
    woken_s: float = -inf

    def woken(self, at_s: float) -> Past:
        """Return the past of a model that has a process again, or is to have one, where it had none."""
        return replace(self, woken_s=at_s)

    def seen(self, now: Moment, window_s: float) -> Past:
        """Return the past with this moment, without what no window will reach."""
        sums = (*self.sums, (now.at_s, now.request_s))
        older = [place for place, (at_s, _) in enumerate(sums) if at_s <= now.at_s - window_s]
        return replace(self, sums=sums[max(older, default=0) :])

    def advised(self, now: Moment, n: int, longest_s: float) -> Past:
        """Return the past with what is recommended now, without what no period will reach."""
        kept = tuple(one for one in self.advice if one[0] > now.at_s - longest_s)
        return replace(self, advice=(*kept, (now.at_s, n)))

    def in_flight(self) -> float | None:
        """Return how many requests were in flight on average; None where there is no time to average over."""
        if len(self.sums) < 2 or self.sums[-1][0] <= self.sums[0][0]:
            return None
        (first_s, first), (last_s, last) = self.sums[0], self.sums[-1]
        return max(0.0, last - first) / (last_s - first_s)

    def since(self, at_s: float) -> tuple[int, ...]:
        """Return what was recommended after a moment."""
        return tuple(n for when_s, n in self.advice if when_s > at_s)


def tick_s(policy: Policy) -> float:
    """Return how often to decide: every ten seconds as Cortex does, and six times in a shorter window."""
    return min(LONGEST_TICK_S, policy.window_s / TICKS_OF_A_WINDOW)


def recommended(policy: Policy, raw: float, n_now: int) -> int:
    """Return how many processes a load asks for, whatever was before.

    Parameters
    ----------
    raw
        Requests in flight on average, by `Policy.target_in_flight`.
    n_now
        Processes that are wanted as it is.
    """
    low, high = n_now * (1 - policy.downscale_tolerance), n_now * (1 + policy.upscale_tolerance)
    n = n_now if low < raw < high else ceil(raw)
    floor = min(n_now - 1, ceil(n_now * policy.max_downscale_factor))
    ceiling = max(n_now + 1, ceil(n_now * policy.max_upscale_factor))
    n = min(max(n, floor), ceiling)
    return min(max(n, policy.min_replicas), policy.n_most)


def decided(policy: Policy, past: Past, *, now: Moment) -> tuple[int, Past]:
    """Return how many processes there are to be, and the past to ask with the next time.

    A model that has not been served for a whole stabilisation period is not scaled in its direction, as in Cortex.

    Parameters
    ----------
    policy
        As of `Policy.completed`.
    """
    assert policy.target_in_flight is not None, "completed() comes first"
    past = past.seen(now, policy.window_s)
    in_flight = past.in_flight()
    if in_flight is None:
        return now.n_replicas, past
    up_s, down_s = policy.upscale_stabilization_period_s, policy.downscale_stabilization_period_s
    n = recommended(policy, in_flight / policy.target_in_flight, now.n_replicas)
    past = past.advised(now, n, max(up_s, down_s))
    served_s = now.at_s - past.began_s
    if n < now.n_replicas:
        n = max(past.since(now.at_s - down_s)) if served_s >= down_s else now.n_replicas
        n = max(n, 1) if now.at_s - past.woken_s < down_s else n
        return min(n, now.n_replicas), past
    if n > now.n_replicas:
        n = min(past.since(now.at_s - up_s)) if served_s >= up_s else now.n_replicas
        return max(n, now.n_replicas), past
    return n, past
