"""How far a job is: its inputs, those that are done, those of them without an answer, and how fast they become more.

It knows no store and no model.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from topwork.contracts import Clock

__all__ = ["Pace", "Progress"]

WINDOW_S: Final = 60.0
"""What is older says nothing of the pace of now: requests may have come since, or gone."""

LEAST_S: Final = 0.05
"""A pace that is measured over less is a guess."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is.

    Attributes
    ----------
    n_inputs
        Inputs in all; 0 of a batch that has not begun, for nobody has counted them yet.
    n_done, n_failed
        Those that were worked on, and those of them that have no answer.
    """

    n_inputs: int = 0
    n_done: int = 0
    n_failed: int = 0

    def further(self, n_done: int, n_failed: int) -> Progress:
        """Return it with so many more."""
        return replace(self, n_done=self.n_done + n_done, n_failed=self.n_failed + n_failed)

    def seconds_left(self, per_second: float | None) -> float | None:
        """Return how long the rest takes at such a pace; None where nobody can tell."""
        return None if per_second is None else max(0, self.n_inputs - self.n_done) / per_second


class Pace:
    """How fast inputs become done, by what was done in the last minute.

    Parameters
    ----------
    clock
        Seconds that only grow.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looks: deque[tuple[float, int]] = deque()

    def note(self, n_done: int) -> None:
        """Note how many are done now."""
        now_s = self._clock()
        self._looks.append((now_s, n_done))
        while len(self._looks) > 2 and self._looks[1][0] <= now_s - WINDOW_S:
            self._looks.popleft()

    def per_second(self) -> float | None:
        """Return how many become done in a second; None while nobody can tell."""
        if len(self._looks) < 2:
            return None
        (first_s, first), (_, last) = self._looks[0], self._looks[-1]
        took_s = self._clock() - first_s  # until now, so that a job that waits becomes slower while it waits
        return (last - first) / took_s if last > first and took_s >= LEAST_S else None
