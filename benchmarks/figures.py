"""Numbers that were measured several times, and how they are written down. It measures nothing itself."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Goal", "Spread", "Table", "ratios"]


@dataclass(frozen=True, slots=True)
class Spread:
    """One quantity, measured once or more in the same unit."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle of what was measured."""
        return statistics.median(self.values)

    def shown(self, n_digits: int = 2) -> str:
        """Return the median, and the smallest and largest value where there are several."""
        middle = f"{self.median:,.{n_digits}f}"
        if len(self.values) == 1:
            return middle
        return f"{middle} ({min(self.values):,.{n_digits}f}–{max(self.values):,.{n_digits}f})"


def ratios(ours: Spread, theirs: Spread) -> Spread:
    """Divide run by run, so that what the machine did to both sides of a round cancels."""
    return Spread(tuple(a / b for a, b in zip(ours.values, theirs.values, strict=True)))


@dataclass(frozen=True, slots=True)
class Goal:
    """What was promised of a quantity, and what came out."""

    what: str
    measured: Spread
    relation: Literal["at most", "at least", "above"]
    limit: float
    unit: str
    n_digits: int = 2

    @property
    def is_met(self) -> bool:
        """Whether the median keeps the promise."""
        value = self.measured.median
        if self.relation == "above":
            return value > self.limit
        return value <= self.limit if self.relation == "at most" else value >= self.limit

    def shown(self) -> str:
        """Return the sentence for a person."""
        return (
            f"{'met' if self.is_met else '**missed**'}: {self.what} {self.measured.shown(self.n_digits)} "
            f"{self.unit}; promised is {self.relation} {self.limit:g}."
        )


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a head."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def markdown(self) -> str:
        """Return the table as Markdown that also reads well in a terminal."""
        table = [self.head, *self.rows]
        widths = [max(len(row[i]) for row in table) for i in range(len(self.head))]
        lines = [_line([cell.ljust(w) for cell, w in zip(row, widths, strict=True)]) for row in table]
        return "\n".join([lines[0], _line(["-" * w for w in widths]), *lines[1:]])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
