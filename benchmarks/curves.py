"""Draws validation accuracy over time as SVG, readable on a light and on a dark page. It measures nothing."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import log10

from benchmarks.learning import Moment

__all__ = ["best_so_far", "draw", "median_curve"]

Curve = Sequence[Moment]

_WIDTH, _HEIGHT = 760, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 600, 36, 346
_LABEL_PX = 18
_TICKS_S = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_TICKS_PERCENT = (0, 20, 40, 60, 80, 100)
_COLOURS = (("#0b6e4f", "#4cd6a5"), ("#b8420f", "#ff9a62"), ("#4a4e9e", "#a3a8ff"))
"""For a light and for a dark page; the first side has the first."""


def best_so_far(curve: Curve, seconds: float) -> float:
    """Return the highest accuracy that was seen until then, 0 before there was any."""
    return max((moment.accuracy for moment in curve if moment.seconds <= seconds), default=0.0)


def median_curve(curves: Sequence[Curve]) -> tuple[Moment, ...]:
    """Return the median over fits of the best so far, at every moment at which one of them changed."""
    seconds = sorted({moment.seconds for curve in curves for moment in curve})
    found = [Moment(s, statistics.median(best_so_far(curve, s) for curve in curves)) for s in seconds]
    return tuple(moment for moment in found if moment.accuracy > 0)


def draw(sides: Mapping[str, Sequence[Curve]]) -> str:
    """Draw the fits of up to three sides: a faint line for each fit, a strong one for their median."""
    frame = _Frame([m.seconds for curves in sides.values() for curve in curves for m in curve])
    medians = {name: median_curve(curves) for name, curves in sides.items()}
    lines = [
        _line(frame, curve, number, "fit")
        for number, curves in enumerate(sides.values())
        for curve in curves
        if len(curves) > 1
    ]
    lines += [_line(frame, curve, number, "median") for number, curve in enumerate(medians.values())]
    parts = [*_head(", ".join(sides)), *frame.axes(), *lines, *_labels(frame, medians), "</svg>"]
    return "\n".join(parts) + "\n"


class _Frame:
    """Where seconds, on a logarithmic axis, and accuracies are drawn."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self._first = max(t for t in (0.5, *_TICKS_S) if t <= max(0.5, min(seconds)))
        self._last = max(2 * self._first, max(seconds))

    def x(self, seconds: float) -> float:
        share = log10(max(seconds, self._first) / self._first) / log10(self._last / self._first)
        return _LEFT + share * (_RIGHT - _LEFT)

    def y(self, accuracy: float) -> float:
        return _BOTTOM - accuracy * (_BOTTOM - _TOP)

    def axes(self) -> Iterator[str]:
        for percent in _TICKS_PERCENT:
            y = self.y(percent / 100)
            yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{_RIGHT}"/>'
            yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{percent} %</text>'
        for tick in (t for t in _TICKS_S if self._first <= t <= self._last):
            yield f'<path class="grid" d="M{self.x(tick):.1f} {_TOP}V{_BOTTOM}"/>'
            yield f'<text x="{self.x(tick):.1f}" y="{_BOTTOM + 18}" text-anchor="middle">{tick}</text>'
        middle = (_LEFT + _RIGHT) / 2
        words = "seconds since the process was started"
        yield f'<text x="{middle:.0f}" y="{_BOTTOM + 40}" text-anchor="middle">{words}</text>'
        yield f'<text x="{_LEFT}" y="{_TOP - 16}">best validation accuracy so far: each fit, and the median</text>'


def _head(names: str) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13">'
    )
    yield f"<title>Best validation accuracy so far, over time: {names}</title>"
    light = "".join(
        f".s{i}{{stroke:{a}}}text.s{i}{{fill:{a};stroke:none}}" for i, (a, _) in enumerate(_COLOURS)
    )
    dark = "".join(
        f".s{i}{{stroke:{b}}}text.s{i}{{fill:{b};stroke:none}}" for i, (_, b) in enumerate(_COLOURS)
    )
    yield (
        "<style>text{fill:#444}.grid{stroke:#8884;fill:none}.fit,.median{fill:none;stroke-linejoin:round}"
        f".fit{{stroke-width:1;opacity:.35}}.median{{stroke-width:2.5}}.leader{{stroke-dasharray:1 4}}"
        f"text.name{{font-weight:600}}{light}"
        f"@media(prefers-color-scheme:dark){{text{{fill:#bbb}}{dark}}}</style>"
    )


def _line(frame: _Frame, curve: Curve, number: int, kind: str) -> str:
    """Draw the best so far as steps."""
    if not curve:
        return ""
    steps = [f"M{frame.x(curve[0].seconds):.1f} {frame.y(curve[0].accuracy):.1f}"]
    for before, after in pairwise(curve):
        best = best_so_far(curve, after.seconds)
        if best > best_so_far(curve, before.seconds) or after is curve[-1]:
            steps.append(f"H{frame.x(after.seconds):.1f}V{frame.y(best):.1f}")
    return f'<path class="{kind} s{number}" d="{"".join(steps)}"/>'


def _labels(frame: _Frame, medians: Mapping[str, Curve]) -> Iterator[str]:
    """Write each name in the margin, level with the end of its line, none over another."""
    ends = [(frame.y(c[-1].accuracy), n, name, c[-1]) for n, (name, c) in enumerate(medians.items()) if c]
    lowest = float("-inf")
    for y, number, name, end in sorted(ends):
        lowest = max(y, lowest + _LABEL_PX)
        words = f"{name}, {100 * end.accuracy:.0f} %"
        yield f'<path class="leader s{number}" d="M{frame.x(end.seconds):.1f} {y:.1f}H{_RIGHT}"/>'
        yield f'<text class="name s{number}" x="{_RIGHT + 8}" y="{lowest + 4:.1f}">{words}</text>'
