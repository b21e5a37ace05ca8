"""One request's part of work that several requests share: its inputs on their way to answers.

It knows no thread and no lock: a `Crew` calls it under a lock of its own. Only `put` and `next` belong to the event
loop. It knows nothing of HTTP and nothing of what is computed.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from topwork.contracts import Answer
from topwork.serving.batching.errands import Late
from topwork.serving.batching.patience import Wait
from topwork.serving.batching.work import Batch
from topwork.serving.http.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from topwork.contracts import Clock
    from topwork.serving.batching.patience import Patience
    from topwork.serving.http.bodies import Input

__all__ = ["FAILED", "MOST_UNREAD", "Item", "Late", "Share", "Spent"]

T = TypeVar("T")
U = TypeVar("U")
LOG = logging.getLogger("topwork.serving")
MOST_UNREAD = 4096
"""Answers of a stream that may wait for a slow client before it is given up: a batch cannot wait for one of many."""

FAILED = "The model failed on this input.\nTell the operator of this server; what happened is in its log."


@dataclass(slots=True, eq=False)
class Item:
    """One input of a request.

    Attributes
    ----------
    since_s
        Since when it is prepared and in line, by the crew's clock.
    is_told
        Whether a piece of its answer is with the client, so that it cannot be computed again.
    """

    share: Share
    index: int
    encoded: bytes
    prepared: Any = None
    key: Hashable = None
    since_s: float = 0.0
    is_told: bool = False


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of a request from its coming to its end, and of these in line; ``is_through`` where it left the line."""

    total_s: float
    waited_s: float
    is_through: bool


class Share:
    """One request at a crew; it is made by `Crew.begin`.

    Parameters
    ----------
    read
        Gives the inputs; called once, in a thread.
    eager
        Hand on each answer as it comes. Otherwise they come together, save where an answer has pieces.
    patience
        How long somebody waits for it.
    on_done
        Called on the event loop once nothing more is done for it.

    Attributes
    ----------
    is_gone
        Nobody waits for it any more.
    is_begun
        One of its inputs was in a batch.
    items
        Inputs that are yet to be prepared.
    """

    def __init__(
        self,
        read: Callable[[], Sequence[Input]],
        *,
        eager: bool,
        patience: Patience,
        on_done: Callable[[Spent], None],
        clock: Clock,
    ) -> None:
        self.read, self._wait = read, Wait(patience, clock())
        self._eager, self._on_done, self._clock = eager, on_done, clock
        self._came_s, self._waited_s = clock(), 0.0
        self._context = contextvars.copy_context()
        self.is_gone = self.is_begun = self.is_opened = False
        self.items: deque[Item] = deque()
        self._pending: list[Answer] = []
        self._failures: dict[int, Exception] = {}
        self._error: Exception | None = None
        # Reading the body counts as something to do, so that there is always an end to come.
        self._n_inputs, self._n_left = 0, 1
        self._n_handed = self._n_read = 0
        self._unread: deque[Batch] = deque()
        self._reader: asyncio.Future[None] | None = None

    def is_wanted(self, now_s: float) -> bool:
        """Tell whether somebody waits for it."""
        return not self.is_gone and now_s < self._wait.until_s

    def within(self, call: Callable[[T], U], given: T) -> U:
        """Call something in the context in which it was made, so that what is logged names the request.

        Several threads may work for one request at once, and none can enter a context that another is in: each has a
        copy.
        """
        return self._context.copy().run(call, given)

    # --- the crew's side, under its lock ----------------------------------------------------------------

    def open(self) -> None:
        """Note that its body is about to be read: until now it has waited."""
        self.is_opened, self._waited_s = True, self._clock() - self._came_s

    def expect(self, n_inputs: int) -> Batch | None:
        """Note how many inputs the body held."""
        self._n_inputs = self._n_left = n_inputs
        return self._due(at_once=False)

    def begin(self, item: Item, now_s: float) -> None:
        """Note that one of its inputs is in a batch; the first one ends the waiting."""
        if not self.is_begun:
            self.is_begun = True
            self._waited_s += now_s - item.since_s

    def receive(self, answer: Answer) -> Batch | None:
        """Take an answer, or a piece of one; return what is to be handed on."""
        if not self.is_gone:
            self._pending.append(answer)
        if not answer.last:
            self._wait.go_on(self._clock())
        self._n_left -= answer.last
        return self._due(at_once=self._eager or not answer.last)

    def fail(self, index: int, error: Exception) -> Batch | None:
        """Take the failure of one input; where there are others, it is told in its place."""
        if not (self._eager and self._n_inputs > 1):
            return self._kept(index, error)
        self._n_left -= 1
        self._pending.append(self.within(_failed, (index, error)))
        return self._due(at_once=True)

    def _kept(self, index: int, error: Exception) -> Batch | None:
        self._n_left -= 1
        self._failures[index] = error
        return self._due(at_once=False)

    def drop(self, n_inputs: int) -> Batch | None:
        """Note inputs that are never answered, for nobody waits for them; the request ends with `Late`."""
        self._n_left -= n_inputs
        self._error = self._error or Late()
        return self._due(at_once=False)

    def end(self, error: Exception) -> Batch | None:
        """End it before it has any inputs."""
        self._n_left, self._error = 0, error
        return self._due(at_once=False)

    def _due(self, *, at_once: bool) -> Batch | None:
        if self._n_left == 0:
            return self._last()
        return self._batch(finished=False) if at_once and self._pending else None

    def _last(self) -> Batch:
        error = self._error
        if error is None and self._failures and len(self._failures) == self._n_inputs:
            error = next(iter(self._failures.values()))
        elif error is None:
            self._pending += [self.within(_failed, failure) for failure in self._failures.items()]
        return self._batch(finished=True, error=error)

    def _batch(self, *, finished: bool, error: Exception | None = None) -> Batch:
        batch = Batch(tuple(self._pending), finished, error)
        self._n_handed += len(self._pending)
        self._pending.clear()
        if not finished and self._n_handed - self._n_read > MOST_UNREAD:
            self.is_gone, self._error = True, _unread(self._n_handed - self._n_read)
        return batch

    # --- the event loop's side --------------------------------------------------------------------------

    def put(self, batch: Batch) -> None:
        """Hand answers over; after the last of them nothing is done any more."""
        self._unread.append(batch)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        if batch.finished:
            total_s = self._clock() - self._came_s
            self._on_done(Spent(total_s, self._waited_s, self.is_begun or not self.is_gone))

    async def next(self) -> Batch:
        """Wait for the next answers."""
        while not self._unread:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        batch = self._unread.popleft()
        self._n_read += len(batch.answers)
        return batch


def _failed(failure: tuple[int, Exception]) -> Answer:
    index, error = failure
    LOG.error("one of several inputs failed", exc_info=error)
    return Answer(index, None, FAILED)


def _unread(n_answers: int) -> Refusal:
    return Refusal(
        "unavailable",
        f"{n_answers} answers were not read; the rest is not computed.",
        next_step="Read faster, or ask for less.",
    )
