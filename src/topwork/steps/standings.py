"""What engines showed beside each other, as the rows of a table: for the record, and for who asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from topwork.contracts import Estimate
from topwork.engines.pace import Pace, Spread
from topwork.report.quantities import is_share, metric_title
from topwork.steps.contenders import Tried
from topwork.steps.election import leading_metric

__all__ = ["COLUMNS", "rows_of"]

COLUMNS: Final = (
    "engine",
    "one input, ms",
    "inputs per second",
    "times the first",
    "goldens off by",
    "same answers",
    "difference to the first",
    "finding",
)


def rows_of(tried: Sequence[Tried], reasons: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return a row of `COLUMNS` for each contender; what was not measured is empty. Quartiles stand in brackets."""
    first = tried[0].pace
    return tuple(_row(one, first, reason) for one, reason in zip(tried, reasons, strict=True))


def _row(one: Tried, first: Pace | None, reason: str) -> tuple[str, ...]:
    speeds = ("", "", "") if one.pace is None or first is None else _speeds(one.pace, first)
    off = "" if one.golden_error is None else f"{one.golden_error:.2g}"
    same = "" if one.n_same is None else str(one.n_same)
    lost = "; ".join(_lost(name, one) for name in one.difference)
    return one.contender.name, *speeds, off, same, lost, reason


def _speeds(pace: Pace, first: Pace) -> tuple[str, str, str]:
    single, rate, ratio = Spread.of(1e3 * pace.single_s), Spread.of(pace.items_per_s), pace.times(first)
    return _spelt(single, ".3g"), _spelt(rate, ",.0f"), _spelt(ratio, ".2f")


def _spelt(spread: Spread, how: str) -> str:
    return f"{spread.median:{how}} ({spread.low:{how}} to {spread.high:{how}})"


def _lost(name: str, one: Tried) -> str:
    metrics = one.difference[name]
    metric = leading_metric(metrics)
    where = f"{name}, " if len(one.difference) > 1 else ""
    return f"{where}{metric_title(metric)} {_points(metric, metrics[metric])}"


def _points(metric: str, difference: Estimate) -> str:
    if not difference.is_known:
        return "unknown"
    if is_share(metric):
        return difference.in_points()
    return f"{difference.value:+.3g} ({difference.low:+.3g} to {difference.high:+.3g})"
