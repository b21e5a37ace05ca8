"""Who may work now, who waits, and who is turned away. It knows no servable and no HTTP but the refusal."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from topwork.contracts import Clock
from topwork.serving.http.refusals import Refusal
from topwork.serving.watching.durations import Durations

__all__ = ["ByteBudget", "Gate", "Load", "Turns", "busy"]

SMOOTHING = 0.2
LONGEST_RETRY_S = 60


class Gate:
    """Lets ``max_concurrent`` through and ``max_waiting`` stand in line. Use it from one event loop.

    Attributes
    ----------
    max_concurrent, max_waiting
        How many may be through, and in line, as it is.
    n_waiting, n_inside
        How many stand in line, and how many are through.
    waited, worked
        How long those stood in line who got through, and how long they then worked.
    load
        All of them together, over time.
    on_closed
        Called whenever somebody comes while nobody can be let through.
    """

    def __init__(self, max_concurrent: int, max_waiting: int) -> None:
        self._n_free = self.max_concurrent = max_concurrent
        self._line: deque[asyncio.Future[None]] = deque()
        self.max_waiting = max_waiting
        self._service_s = 0.0
        self.n_waiting = 0
        self.n_inside = 0
        self.waited = Durations()
        self.worked = Durations()
        self.load = Load()
        self.on_closed: Callable[[], None] = lambda: None

    def check(self) -> None:
        """Refuse at once what could not even stand in line, before its body is read.

        Raises
        ------
        Refusal
            Every place is taken.
        """
        if self.max_concurrent <= 0:
            self.on_closed()
        if (self._n_free <= 0 or self._line) and self.n_waiting >= self.max_waiting:
            raise busy(
                f"The server works on {self.n_inside} requests and {self.n_waiting} wait; it takes no more.",
                self.retry_after_s(),
            )

    @property
    def is_open(self) -> bool:
        """Whether `enter` lets the next one through without any wait."""
        return self._n_free > 0 and not self._line

    def widen(self, n_places: int) -> None:
        """Let as many through at once from now on, where these are more."""
        if n_places > self.max_concurrent:
            self.resize(n_places)

    async def enter(self, *, noted: bool = True) -> float:
        """Wait for a place, and return how long that took; each must be given back with `leave`.

        Where it is not ``noted``, the line goes on behind the gate, and the whole wait is noted by who is there.

        Raises
        ------
        Refusal
            The line is full.
        """
        self.check()
        began = time.perf_counter()
        self.n_waiting += 1
        self.load.change(1)
        try:
            await self._take()
        except BaseException:
            self.load.change(-1)
            raise
        finally:
            self.n_waiting -= 1
        self.n_inside += 1
        waited_s = time.perf_counter() - began
        if noted:
            self.waited.add(waited_s)
        return waited_s

    def leave(self, service_s: float, *, waited_s: float = 0.0) -> None:
        """Give a place back after ``service_s`` seconds, of which ``waited_s`` were spent in a line behind the gate."""
        self.n_inside -= 1
        self.worked.add(service_s - waited_s)
        first = self._service_s == 0.0
        self._service_s += (1.0 if first else SMOOTHING) * (service_s - self._service_s)
        self.load.change(-1)
        self._n_free += 1
        self._hand_out()

    def resize(self, max_concurrent: int) -> None:
        """Let so many through at once from now on; who is through already stays."""
        self._n_free += max_concurrent - self.max_concurrent
        self.max_concurrent = max_concurrent
        self._hand_out()

    async def _take(self) -> None:
        if self._n_free > 0 and not self._line:
            self._n_free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given a place at the same moment, which is the next one's now
                self._n_free += 1
            elif turn in self._line:
                self._line.remove(turn)
            self._hand_out()
            raise

    def _hand_out(self) -> None:
        """Give free places to those who came first."""
        while self._n_free > 0 and self._line:
            turn = self._line.popleft()
            if not turn.cancelled():
                self._n_free -= 1
                turn.set_result(None)

    def retry_after_s(self) -> int:
        """Return the seconds in which the line will have moved on, at least 1, from the measured work."""
        line_s = self._service_s * (self.n_waiting + 1) / max(1, self.max_concurrent)
        return max(1, min(LONGEST_RETRY_S, math.ceil(line_s)))


class Load:
    """How many requests there are, and the seconds of all of them together. Change it on one thread, read it on any."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._state = (clock(), 0, 0.0)  # one value, so that whoever reads sees no half of a change

    def change(self, by: int) -> None:
        """Count so many more, or fewer."""
        at_s, n, seconds = self._state
        now_s = self._clock()
        self._state = (now_s, n + by, seconds + n * (now_s - at_s))

    @property
    def n_now(self) -> int:
        """How many there are now."""
        return self._state[1]

    def seconds(self) -> float:
        """Return the seconds that each was there, summed over all that there ever were."""
        at_s, n, seconds = self._state
        return seconds + n * (self._clock() - at_s)


class ByteBudget:
    """The bytes of all request bodies in memory together."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.held = 0

    def resize(self, max_bytes: int) -> None:
        """Take another bound from now on; what is held stays."""
        self._max_bytes = max_bytes

    def take(self, n_bytes: int, retry_after_s: int = 1) -> None:
        """Count bytes that are about to be kept; there may be room in ``retry_after_s``.

        Raises
        ------
        Refusal
            There would be more than allowed.
        """
        if self.held + n_bytes > self._max_bytes:
            raise busy(
                f"The server holds {self.held:,} bytes of requests; it takes no more now.", retry_after_s
            )
        self.held += n_bytes

    def give_back(self, n_bytes: int) -> None:
        """Count bytes that are no longer kept."""
        self.held -= n_bytes


class Turns:
    """Counts who is inside by the turn in which each came in, so that one can wait for all of the earlier turns."""

    def __init__(self) -> None:
        self._now = 0
        self._inside: Counter[int] = Counter()
        self._left = asyncio.Event()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Count as one who came in in the turn that is now."""
        turn = self._now
        self._inside[turn] += 1
        try:
            yield
        finally:
            self._inside[turn] -= 1
            if not self._inside[turn]:
                del self._inside[turn]
                self._left.set()

    def next(self) -> int:
        """Begin another turn, and return its number."""
        self._now += 1
        return self._now

    async def left(self, turn: int) -> None:
        """Wait until all have left who came in before ``turn``."""
        while any(one < turn for one in self._inside):
            self._left.clear()
            await self._left.wait()


def busy(problem: str, retry_after_s: int) -> Refusal:
    """Say that there is too much to do, and when to come again."""
    return Refusal(
        "busy",
        problem,
        next_step=f"Try again in {retry_after_s} s.",
        headers={"retry-after": str(retry_after_s)},
    )
