"""How long things took, counted in steps. It knows neither what took so long nor who reads it."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from math import inf
from typing import Final

__all__ = ["STEPS_S", "Durations"]

STEPS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Durations:
    """Counts of durations, each in the first of `STEPS_S` that it does not exceed. Use it from one thread."""

    def __init__(self) -> None:
        self._counts = [0] * (len(STEPS_S) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(STEPS_S, seconds)] += 1
        self.total_s += seconds

    def cumulated(self) -> list[tuple[float, int]]:
        """Return every step in seconds with how many durations do not exceed it; the last step is infinite."""
        return list(zip((*STEPS_S, inf), accumulate(self._counts), strict=True))
