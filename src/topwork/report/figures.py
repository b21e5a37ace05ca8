"""The geometry of the figures: where a dot, a whisker and a baseline stand, and how dark a cell is.

It turns estimates into positions between 0 and 100 and knows no markup; the template draws them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, copysign, floor, isfinite, isnan, log10
from typing import TYPE_CHECKING

from topwork.report.quantities import is_share, metric_title, percent, spell, spell_interval
from topwork.report.verdicts import improvement, verdict
from topwork.report.words import baseline_title

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from topwork.contracts import Estimate, Matrix

__all__ = [
    "Cell",
    "DifferenceFigure",
    "HeatRow",
    "IntervalFigure",
    "Mark",
    "column_ceiling",
    "degree_of",
    "difference_figure",
    "difference_reach",
    "heat_rows",
    "interval_figure",
]

HEAT_LEVELS = 10
_FELT = 0.12
"""Warmth of a word, at most 1, from which on it is marked."""
_REACHES = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True, slots=True)
class Mark:
    """A dot with its whisker, in percent of the axis's length; ``x`` is None where the value is unknown."""

    name: str
    x: float | None
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class IntervalFigure:
    """An estimate and its baselines on one axis, and the same in words for who cannot see it."""

    model: Mark
    baselines: tuple[Mark, ...]
    start: str
    end: str
    words: str


@dataclass(frozen=True, slots=True)
class DifferenceFigure:
    """A difference on an axis with zero in its middle (50); above zero this model is better."""

    mark: Mark
    standing: str
    start: str
    end: str
    words: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a matrix: ``level`` 0 to 10 says how dark, ``share`` is of its row."""

    count: int
    share: str
    level: int
    diagonal: bool
    title: str


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One row of a matrix."""

    label: str
    cells: tuple[Cell, ...]
    total: int


def interval_figure(
    metric: str, estimate: Estimate, baselines: Mapping[str, Estimate], ceiling: float | None = None
) -> IntervalFigure:
    """Place an estimate and its baselines on an axis from 0 to 1, or to ``ceiling`` for what is no share."""
    everything = (estimate, *baselines.values())
    bottom, top = _floor(metric, everything), ceiling or _ceiling(metric, everything)
    return IntervalFigure(
        model=_mark("this model", estimate, bottom, top),
        baselines=tuple(_mark(baseline_title(n), e, bottom, top) for n, e in baselines.items()),
        start=_axis(metric, bottom),
        end=_axis(metric, top),
        words=_words(metric, estimate, baselines),
    )


def difference_reach(metric: str, differences: Sequence[Estimate]) -> float:
    """Return how far from zero an axis must reach on both sides to hold all of ``differences``."""
    ends = [abs(end) for e in differences for end in (e.value, e.low, e.high) if isfinite(end)]
    if not any(ends):
        return 0.1 if is_share(metric) else 1.0
    power = 10.0 ** floor(log10(max(ends)))
    return next(reach * power for reach in _REACHES if reach * power >= max(ends) * (1 - 1e-9))


def difference_figure(metric: str, difference: Estimate, reach: float) -> DifferenceFigure:
    """Place a paired difference on an axis from minus ``reach`` to ``reach``, turned so that right is better."""
    found = verdict(metric, difference)
    end = f"{100 * reach:g} points" if is_share(metric) else f"{reach:g}"
    return DifferenceFigure(
        mark=_mark("this model", improvement(metric, difference), -reach, reach),
        standing=found.standing,
        start=f"{end} worse",
        end=f"{end} better",
        words=f"{metric_title(metric)}: {found.words}",
    )


def column_ceiling(metric: str, estimates: Sequence[Estimate]) -> float:
    """Return where the common axis of a column of estimates ends."""
    return _ceiling(metric, estimates)


def heat_rows(matrix: Matrix) -> tuple[HeatRow, ...]:
    """Return the rows of a matrix with shares of each row's total and how dark each cell is."""
    return tuple(_heat_row(matrix, row) for row in range(len(matrix.row_labels)))


def _heat_row(matrix: Matrix, row: int) -> HeatRow:
    counts, label = matrix.counts[row], matrix.row_labels[row]
    total = sum(counts)
    cells = tuple(
        _cell(label, to, count, total) for to, count in zip(matrix.column_labels, counts, strict=True)
    )
    return HeatRow(label, cells, total)


def _cell(truth: str, predicted: str, count: int, total: int) -> Cell:
    share = count / total if total else 0.0
    # Even one row in a hundred must be seen: only an empty cell is blank.
    level = 0 if count == 0 else max(1, round(share * HEAT_LEVELS))
    words = f"{truth} taken for {predicted}: {count} of {total} ({percent(share)})"
    return Cell(count, f"{100 * share:.0f}\u00a0%", level, truth == predicted, words)


def _mark(name: str, estimate: Estimate, bottom: float, top: float) -> Mark:
    def place(value: float) -> float:
        return round(100 * min(1.0, max(0.0, (value - bottom) / (top - bottom))), 2)

    if isnan(estimate.value):
        return Mark(name, None, 0.0, 100.0)
    return Mark(name, place(estimate.value), place(estimate.low), place(estimate.high))


def _ceiling(metric: str, estimates: Sequence[Estimate]) -> float:
    if is_share(metric):
        return 1.0
    ends = [end for e in estimates for end in (e.value, e.high) if isfinite(end)]
    return 1.05 * max(ends) if ends and max(ends) > 0 else 1.0


def _floor(metric: str, estimates: Sequence[Estimate]) -> float:
    ends = [end for e in estimates for end in (e.value, e.low) if isfinite(end)]
    return 0.0 if is_share(metric) else 1.05 * min(0.0, *ends, 0.0)


def _axis(metric: str, value: float) -> str:
    return f"{100 * value:.0f}\u00a0%" if is_share(metric) else f"{value:.2g}"


def _words(metric: str, estimate: Estimate, baselines: Mapping[str, Estimate]) -> str:
    others = "".join(f"; {baseline_title(n)} {spell(metric, e.value)}" for n, e in baselines.items())
    value, interval = spell(metric, estimate.value), spell_interval(metric, estimate)
    return f"{metric_title(metric)} {value}, interval {interval}{others}"


def degree_of(warmth: float) -> int:
    """Return how strongly a word is marked, -4 to 4; 0 for one that hardly matters."""
    return int(copysign(ceil(4 * min(1.0, abs(warmth))), warmth)) if abs(warmth) >= _FELT else 0
