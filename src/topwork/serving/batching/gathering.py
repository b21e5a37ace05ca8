"""A servable that threads ask, each for one request, and that computes together what they ask at once.

It is a model in a worker process, or a link of a chain; what the server itself asks goes to a `Crew` without it. It
knows no HTTP and no process.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from topwork.contracts import Answer, Batchable, Servable
from topwork.serving.batching.crew import Crew
from topwork.serving.batching.errands import waiting
from topwork.serving.batching.patience import Patience
from topwork.serving.batching.share import Share
from topwork.serving.batching.sizing import batch_limit, measured
from topwork.serving.batching.work import Batch
from topwork.serving.limits import Limits
from topwork.serving.wrapping.around import Around

__all__ = ["Gathered", "Gathering", "gathered_of", "gathering", "gathering_within", "together"]


@dataclass(frozen=True, slots=True)
class Gathered:
    """Batches that a servable makes by itself of requests that are at it at once; it may offer them as ``gathered``.

    Attributes
    ----------
    largest
        Most inputs of a batch.
    n_at_once
        Inputs that it computes at once, in all of its batches.
    sizes
        Number of inputs to how many batches had as many.
    """

    largest: int = 1
    n_at_once: int = 1
    sizes: Mapping[int, int] = field(default_factory=dict)

    @property
    def n_seats(self) -> int:
        """Requests that are to be at it at once: as many as are computed, and the next ones."""
        return 2 * self.n_at_once


class Gathering(Around):
    """A servable whose `submit` shares batches; see `topwork.contracts.Servable`.

    Its threads end when nobody holds it.

    Parameters
    ----------
    servable
        A servable that takes batches.
    n_slots
        Batches that its engine computes at once.
    max_batch
        Most inputs of a batch; None for what is measured at the proof.
    deadline_s
        Within which a request is to be answered.
    """

    def __init__(
        self, servable: Servable, n_slots: int, *, max_batch: int | None = None, deadline_s: float = 30.0
    ) -> None:
        assert isinstance(servable, Batchable)
        super().__init__(servable)
        self._batches = servable
        self._max_batch, self._deadline_s = max_batch, deadline_s
        self._crew = Crew(servable, n_slots, n_slots, name=f"topwork-{servable.name}-gathering")
        # Neither may hold this object, or it would never be let go.
        self._crew.start(_one_at_a_time())
        weakref.finalize(self, self._crew.stop, 0.0)
        self._crew.take_up_to(max_batch or 1)

    @property
    def gathered(self) -> Gathered:
        """What its batches are like."""
        crew = self._crew
        return Gathered(crew.largest, crew.n_slots * crew.largest, crew.sizes)

    def prove(self) -> None:
        """Prove the model, and find out how large its batches may be."""
        self._servable.prove()
        if self._max_batch is None:
            times = measured(self._batches, self._deadline_s, self._crew.n_slots)
            self._max_batch = batch_limit(times, self._deadline_s)
            self._crew.take_up_to(self._max_batch)
        self._crew.rehearse()

    def submit(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        """Answer inputs as they come out of batches; those on which the model failed come last."""
        crew, patience = self._crew, Patience(math.inf)
        share = crew.begin(
            lambda: inputs, eager=True, patience=patience, on_done=lambda _: None, kind=_Waiting
        )
        assert isinstance(share, _Waiting)
        try:
            with waiting(lambda: crew.withdraw(share), lambda: not share.is_begun):
                yield from share.answers()
        finally:
            crew.withdraw(share)

    def explain(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        """Have the model explain inputs; these share nothing."""
        return self._servable.explain(inputs)

    def close(self) -> None:
        """End the threads, so that nothing holds the model."""
        self._crew.stop(timeout_s=5.0)


class _Waiting(Share):
    """A share for which a thread waits in place of an event loop."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._came: SimpleQueue[Batch] = SimpleQueue()

    def put(self, batch: Batch) -> None:
        self._came.put(batch)

    def fail(self, index: int, error: Exception) -> Batch | None:
        """Keep a failure until all is known: where there is nothing else, it is one of the request."""
        return self._kept(index, error)

    def answers(self) -> Iterator[Answer]:
        """Wait for the answers, until there are no more."""
        is_over = False
        while not is_over:
            batch = self._came.get()
            self._n_read += len(batch.answers)
            yield from batch.answers
            if batch.error is not None:
                raise batch.error
            is_over = batch.finished


def _one_at_a_time() -> Callable[[Callable[[], None]], None]:
    """Return what calls something in the very thread, while no other one does, so that answers keep their order."""
    lock = threading.Lock()

    def call(it: Callable[[], None]) -> None:
        with lock:
            it()

    return call


def gathering(
    servable: Servable,
    n_at_once: int,
    *,
    n_threads: int | None = None,
    max_batch: int | None = None,
    deadline_s: float = 30.0,
) -> Servable:
    """Return a servable that shares batches where the given one takes any, else that one.

    Parameters
    ----------
    n_at_once
        Batches that its engine can well compute at once.
    n_threads
        How many are computed at once at most; None for as many as can be.
    max_batch, deadline_s
        As of `Gathering`.
    """
    if not isinstance(servable, Batchable):
        return servable
    n_slots = min(n_at_once, n_threads or n_at_once)
    return Gathering(servable, n_slots, max_batch=max_batch, deadline_s=deadline_s)


def gathering_within(
    servable: Servable, n_at_once: int, limits: Limits, *, largest: int | None = None
) -> Servable:
    """Return what `gathering` does within a server's limits, with batches of the ``largest`` that is known already."""
    return gathering(
        servable,
        n_at_once,
        n_threads=limits.max_concurrent,
        max_batch=limits.max_batch or largest,
        deadline_s=limits.deadline_s,
    )


def gathered_of(servable: Servable) -> Gathered | None:
    """Return what the batches are like that a servable makes by itself; None where it makes none."""
    found: Gathered | None = getattr(servable, "gathered", None)
    return found


def together(every: Iterable[Gathered | None]) -> Gathered | None:
    """Return what several make, as one; None where none makes any."""
    found = [one for one in every if one is not None]
    sizes: Counter[int] = Counter()
    for one in found:
        sizes.update(one.sizes)
    most = max(found, key=lambda one: one.n_at_once, default=None)
    return None if most is None else Gathered(max(one.largest for one in found), most.n_at_once, sizes)
