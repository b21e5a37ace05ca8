"""A version that is asked beside the one that answers: compared, counted, and never returned.

It is asked after the client has its answer, and only while no request is in line or at work; when one comes it stops
before the next input. What there is no time for is dropped and counted, so a busy server compares little. It has one
thread and keeps one request, so a live request is never refused for it; what it computes at the moment when a request
comes shares the processor with it, for one input at most. It knows no task.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from topwork.serving.http.answers import pieces
from topwork.serving.watching.durations import Durations

if TYPE_CHECKING:
    from collections.abc import Generator

    from topwork.contracts import Answer, Clock, Json, Servable
    from topwork.serving.http.bodies import Input

__all__ = ["Compared", "Shadow", "agree"]

IDLE_S = 5.0
"""After which a shadow that nothing is asked of has no thread."""

LOG = logging.getLogger("topwork.serving")


def agree(one: Json, other: Json, within: float) -> bool:
    """Tell whether two answers say the same.

    Numbers may differ by ``within``, or by that share of the larger one where that is more; all else must be the same.
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return set(one) == set(other) and all(agree(one[key], other[key], within) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(agree(a, b, within) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) or isinstance(other, float):
        return (
            _is_number(one) and _is_number(other) and _near(cast("float", one), cast("float", other), within)
        )
    return type(one) is type(other) and one == other


def _is_number(value: Json) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _near(one: float, other: float, within: float) -> bool:
    return abs(one - other) <= within * max(1.0, abs(one), abs(other))


@dataclass(slots=True)
class Compared:
    """What a shadow has done so far: inputs that were compared, and requests that were not.

    Attributes
    ----------
    agreed, differed
        Inputs on which it said the same as the version that answered, and something else.
    failed
        Inputs to which one of the two had an answer and the other a problem, or which it made a mistake on.
    dropped
        Requests that there was no time for, or not for all of their inputs.
    took
        Seconds for each input.
    """

    agreed: int = 0
    differed: int = 0
    failed: int = 0
    dropped: int = 0
    took: Durations = field(default_factory=Durations)

    def to_json(self) -> dict[str, Json]:
        """Return the counts."""
        return {
            "agreed": self.agreed,
            "differed": self.differed,
            "failed": self.failed,
            "dropped": self.dropped,
        }


@dataclass(frozen=True, slots=True)
class _Case:
    """A request that has been answered, and whether there is still nothing else to do."""

    read: Callable[[], Sequence[Input]]
    answers: Sequence[Answer]
    is_quiet: Callable[[], bool]


class Shadow:
    """Asks a servable what another one has answered; `offer` is for the event loop.

    Parameters
    ----------
    within
        By how much numbers may differ, as of `agree`.
    clock
        Seconds.

    Attributes
    ----------
    compared
        What came of it.
    """

    def __init__(self, servable: Servable, within: float, clock: Clock = time.perf_counter) -> None:
        self._servable, self._within, self._clock = servable, within, clock
        self.compared = Compared()
        self._changed = threading.Condition()
        # Both are touched under that lock.
        self._case: _Case | None = None
        self._thread: threading.Thread | None = None

    def offer(
        self, read: Callable[[], Sequence[Input]], answers: Sequence[Answer], is_quiet: Callable[[], bool]
    ) -> None:
        """Have a request compared that was answered, if there is time for it."""
        with self._changed:
            if self._case is not None or not is_quiet():
                self.compared.dropped += 1
                return
            self._case = _Case(read, answers, is_quiet)
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name=f"topwork-shadow-{self._servable.name}", daemon=True
                )
                self._thread.start()

    @property
    def is_free(self) -> bool:
        """Whether it would take a request now."""
        return self._case is None

    def _work(self) -> None:
        while (case := self._next()) is not None:
            try:
                self._compare(case)
            except Exception as error:
                self.compared.failed += 1
                LOG.warning("%s, a shadow, failed: %r", self._servable.name, error)
            with self._changed:
                self._case = None

    def _next(self) -> _Case | None:
        """Return a case, or None where none comes for a while: then the thread ends, and the next case has another."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._case is not None, IDLE_S):
                self._thread = None
            return self._case

    def _compare(self, case: _Case) -> None:
        live = {answer.index: answer for answer in case.answers}
        began = self._clock()
        # Of a generator: it must hear when it is left early, for it may hold a place in somebody's batch.
        said = cast("Generator[Answer, None, None]", self._said(case))
        with closing(said):
            for answer in said:
                self.compared.took.add(self._clock() - began)
                self._count(live.get(answer.index), answer)
                if len(live) > 1 and not case.is_quiet():
                    self.compared.dropped += 1
                    return
                began = self._clock()

    def _said(self, case: _Case) -> Iterator[Answer]:
        yield from pieces(self._servable.submit, case.read())

    def _count(self, live: Answer | None, answer: Answer) -> None:
        if live is None or (live.value is None) != (answer.value is None):
            self.compared.failed += 1
        elif agree(live.value, answer.value, self._within):
            self.compared.agreed += 1
        else:
            self.compared.differed += 1
