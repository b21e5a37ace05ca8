"""Whose slice of a job goes next to a model, and how large it is. It knows no store and nothing of what is computed.

Requests that somebody waits for go first: a slice begins only while none of them stands in line, and only where more
than the places that are kept for them are free. So a request waits for the slices that are at work at most, and these
are short: as many inputs as are computed in `SLICE_S`, by what the ones before took.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from topwork.serving.http.refusals import Refusal

if TYPE_CHECKING:
    from topwork.serving.hosting import Hosted

__all__ = ["LOOK_S", "SLICE", "SLICE_S", "Lane", "n_places"]

SLICE: Final = 16
"""Most inputs that are worked on before a request may go first: as many as a bundle runs together."""

SLICE_S: Final = 0.05
"""How long they may take: what a request may have to wait for where all places are taken."""

LOOK_S: Final = 0.01
"""How often it is looked whether requests leave a place, where no slice ends meanwhile."""

KEPT: Final = 0.25
"""Share of a model's places that is kept for requests; at least one of several."""

SMOOTHING: Final = 0.3


def n_places(hosted: Hosted) -> int:
    """Return how many slices of a model may be at work; where it has several places some are kept for requests."""
    n_all = min(hosted.limits.max_concurrent or hosted.n_at_once, hosted.gate.max_concurrent)
    return max(1, n_all - math.ceil(KEPT * n_all))


class Lane:
    """The slices in line for one model: owners have turns, each with one slice. Use it on one event loop."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}
        self._is_taken = False
        self._ended = asyncio.Event()
        self._input_s = 0.0
        self._size = 1

    @property
    def size(self) -> int:
        """How many inputs the next slice may have."""
        return self._size

    async def enter(self, owner: str, find: Callable[[], Hosted | None]) -> Hosted | None:
        """Return who hosts the model now, with a place in its gate; None where ``find`` says that it is of no use."""
        async with self._front(owner):
            while (hosted := find()) is not None:
                if await _entered(hosted):
                    return hosted
                self._ended.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._ended.wait()
        return None

    def note(self, n_inputs: int, seconds: float) -> None:
        """Note that a slice of so many inputs has ended that was worked on for so long."""
        self._ended.set()
        input_s = seconds / max(1, n_inputs)
        self._input_s += (SMOOTHING if self._input_s else 1.0) * (input_s - self._input_s)
        fitting = SLICE if self._input_s * SLICE <= SLICE_S else int(SLICE_S / self._input_s)
        # Never more than twice as many as were tried: nobody knows yet how long these would take.
        self._size = max(1, min(fitting, max(self._size, 2 * n_inputs)))

    @asynccontextmanager
    async def _front(self, owner: str) -> AsyncIterator[None]:
        """Stand at the front of the line, alone."""
        await self._came(owner)
        try:
            yield
        finally:
            self._hand_on()

    async def _came(self, owner: str) -> None:
        if not self._is_taken:
            self._is_taken = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(owner, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was its turn at the same moment, which is the next one's now
                self._hand_on()
            raise

    def _hand_on(self) -> None:
        """Let the next owner's first slice come to the front; who has had a turn stands at the end again."""
        while self._lines:
            owner = next(iter(self._lines))
            line = self._lines.pop(owner)
            turn = line.popleft()
            if line:
                self._lines[owner] = line
            if not turn.cancelled():
                turn.set_result(None)
                return
        self._is_taken = False


async def _entered(hosted: Hosted) -> bool:
    """Take a place of the gate where requests leave one, and tell whether there was."""
    gate = hosted.gate
    if hosted.n_waiting or gate.n_inside >= n_places(hosted):
        return False
    with suppress(Refusal):  # it takes nobody now
        await gate.enter()
        # Meanwhile it may have been stopped, or another version may have taken the lead, with a gate of its own.
        if not hosted.workers.stopped and hosted.gate is gate:
            return True
        gate.leave(0.0)
    return False
