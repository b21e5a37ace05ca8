"""The geometry of a chart: where its lines, bands, dots, whiskers and bars stand, and the same in words.

Positions run from 0 to 100, from the left and from the top, so that a template can draw them at any size. It
knows no markup and no target.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Literal

from topwork.report.axes import Axis, Kind, axis_of
from topwork.report.quantities import coordinate, coordinate_interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from topwork.contracts import Chart, Point, Series

__all__ = ["ChartFigure", "DrawnSeries", "Row", "Spot", "chart_figure", "chart_rows", "thinned"]

MOST_POINTS = 200
"""Points of one series that are drawn; of more, as many are taken at even distances, first and last among them."""

N_COLOURS = 6
_BAR_ROOM = 0.8


@dataclass(frozen=True, slots=True)
class Spot:
    """One point: from the left, from the top, where its whisker or bar begins and ends, and what it says.

    ``high`` stands above ``low`` on the page, so it is the smaller number; both are None without an interval.
    ``left`` and ``width`` are those of a bar, ``base`` the place of zero, and zero for other styles.
    """

    x: float
    y: float
    low: float | None
    high: float | None
    words: str
    left: float = 0.0
    width: float = 0.0
    base: float = 0.0


@dataclass(frozen=True, slots=True)
class DrawnSeries:
    """One series: ``line`` and ``band`` are the data of SVG paths, empty where there is nothing to draw."""

    name: str
    style: Literal["line", "dashed", "dots", "bars"]
    colour: int
    line: str
    band: str
    spots: tuple[Spot, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One point in words."""

    series: str
    x: str
    y: str
    interval: str


@dataclass(frozen=True, slots=True)
class ChartFigure:
    """A chart, ready to be drawn; without series where it has no point that could be."""

    x: Axis
    y: Axis
    series: tuple[DrawnSeries, ...]
    words: str
    rows: tuple[Row, ...]
    n_left_out: int


def chart_figure(chart: Chart) -> ChartFigure:
    """Place the points of a chart between axes with round ticks; points without a place are left out."""
    kept = [(one, thinned(_drawable(one.points), MOST_POINTS)) for one in chart.series]
    kept = [(one, points) for one, points in kept if points]
    bars = [points for one, points in kept if one.style == "bars"]
    x = axis_of(chart.x_kind, _widths(kept), log=chart.x_log and not bars, snug=True)
    y = axis_of(chart.y_kind, _heights(kept), from_zero=bool(bars))
    n_drawn = sum(len(points) for _, points in kept)
    return ChartFigure(
        x=x,
        y=y,
        series=tuple(_draw(chart, number, kept, x, y) for number in range(len(kept))),
        words=_words(chart, kept),
        rows=chart_rows(chart, MOST_POINTS),
        n_left_out=sum(len(one.points) for one in chart.series) - n_drawn,
    )


def chart_rows(chart: Chart, most: int) -> tuple[Row, ...]:
    """Return the points of a chart as rows of a table, at most ``most`` of each series."""
    return tuple(
        Row(one.name, coordinate(chart.x_kind, p.x), coordinate(chart.y_kind, p.y), _interval(chart, p))
        for one in chart.series
        for p in thinned(one.points, most)
    )


def thinned(points: Sequence[Point], most: int) -> tuple[Point, ...]:
    """Return at most ``most`` (2 or more) of the points at even distances, the first and the last among them."""
    if len(points) <= most:
        return tuple(points)
    return tuple(points[round(i * (len(points) - 1) / (most - 1))] for i in range(most))


def _drawable(points: Sequence[Point]) -> list[Point]:
    return [p for p in points if isfinite(p.x) and isfinite(p.y)]


def _widths(kept: Sequence[tuple[Series, Sequence[Point]]]) -> Iterator[float]:
    """Yield what the x axis must hold: every point, and a bar's two sides."""
    for one, points in kept:
        half = _gap([p.x for p in points]) / 2 if one.style == "bars" else 0.0
        for p in points:
            yield from (p.x - half, p.x + half) if half else (p.x,)


def _heights(kept: Sequence[tuple[Series, Sequence[Point]]]) -> Iterator[float]:
    for _, points in kept:
        for p in points:
            yield from (v for v in (p.y, p.low, p.high) if v is not None)


def _gap(values: Sequence[float]) -> float:
    """Return the least distance between two neighbours; zero where there are none."""
    ordered = sorted(set(values))
    return min((b - a for a, b in pairwise(ordered)), default=0.0)


def _draw(
    chart: Chart, number: int, kept: Sequence[tuple[Series, Sequence[Point]]], x: Axis, y: Axis
) -> DrawnSeries:
    one, points = kept[number]
    spots = [_spot(chart, one.name, p, x, y) for p in points]
    if one.style == "bars":
        bars = [i for i, (other, _) in enumerate(kept) if other.style == "bars"]
        spots = _as_bars(spots, bars.index(number), len(bars), 100 - y.place(0.0))
    is_line = one.style in ("line", "dashed")
    return DrawnSeries(
        name=one.name,
        style=one.style,
        colour=number % N_COLOURS,
        line=_path([(s.x, s.y) for s in spots]) if is_line and len(spots) > 1 else "",
        band="".join(_bands(spots)) if is_line else "",
        spots=tuple(spots),
    )


def _spot(chart: Chart, name: str, point: Point, x: Axis, y: Axis) -> Spot:
    interval = _interval(chart, point)
    return Spot(
        x=x.place(point.x),
        y=_from_top(y, point.y),
        low=None if point.low is None or point.high is None else _from_top(y, point.low),
        high=None if point.low is None or point.high is None else _from_top(y, point.high),
        words=f"{name}: {coordinate(chart.y_kind, point.y)}"
        + (f" ({interval})" if interval else "")
        + f" at {coordinate(chart.x_kind, point.x)}",
    )


def _from_top(y: Axis, value: float) -> float:
    return round(100 - y.place(value), 2)


def _as_bars(spots: Sequence[Spot], number: int, n_series: int, base: float) -> list[Spot]:
    """Give each spot a bar; bars of several series stand side by side and share the room of one."""
    room = _BAR_ROOM * (_gap([s.x for s in spots]) or 20.0)
    width = room / n_series
    drawn = []
    for s in spots:
        left = s.x - room / 2 + number * width
        bar = Spot(
            round(left + width / 2, 2), s.y, s.low, s.high, s.words, round(left, 2), round(width, 2), base
        )
        drawn.append(bar)
    return drawn


def _bands(spots: Sequence[Spot]) -> Iterator[str]:
    """Yield a closed path for every run of neighbours that have an interval."""
    run: list[tuple[float, float, float]] = []
    for spot in (*spots, None):
        if spot is not None and spot.low is not None and spot.high is not None:
            run.append((spot.x, spot.low, spot.high))
            continue
        if len(run) > 1:
            yield _path([(x, high) for x, _, high in run] + [(x, low) for x, low, _ in reversed(run)]) + "Z"
        run = []


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in places)


def _interval(chart: Chart, point: Point) -> str:
    if point.low is None or point.high is None:
        return ""
    return coordinate_interval(chart.y_kind, point.low, point.high)


def _words(chart: Chart, kept: Sequence[tuple[Series, Sequence[Point]]]) -> str:
    told = "; ".join(_course(one.name, points, chart.x_kind, chart.y_kind) for one, points in kept)
    return f"{chart.title}. {chart.y_label} by {chart.x_label}. {told or 'Nothing to draw'}."


def _course(name: str, points: Sequence[Point], x_kind: Kind, y_kind: Kind) -> str:
    first, last = points[0], points[-1]
    start = f"{coordinate(y_kind, first.y)} at {coordinate(x_kind, first.x)}"
    if len(points) == 1:
        return f"{name}: {start}"
    return f"{name}: from {start} to {coordinate(y_kind, last.y)} at {coordinate(x_kind, last.x)}"
