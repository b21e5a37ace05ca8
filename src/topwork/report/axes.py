"""Axes with round ticks: where a value stands between 0 and 100, and what its ticks say.

An axis is of numbers, of shares (shown in percent) or of seconds (shown as ``10 s`` or ``2 min``), straight or
logarithmic. It knows no series and no markup.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, inf, isfinite, isnan, log10
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Axis", "Kind", "Tick", "axis_of", "round_up"]

Kind: TypeAlias = Literal["number", "share", "seconds"]

MOST_TICKS = 6
"""More would run into each other on a phone."""

_ROUND = (1.0, 2.0, 5.0, 10.0)
_ROUND_SECONDS = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0),
    *(300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 21_600.0, 43_200.0, 86_400.0),
)
# Multiples of each power of ten that a logarithmic axis may name, the most first.
_LOG_STEPS = (
    (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9),
    (1, 1.5, 2, 3, 4, 5, 6, 8),
    (1, 1.5, 2, 3, 5, 7),
    (1, 2, 5),
    (1, 3),
    (1,),
)
_WHOLE_SHARE = 0.5
_NEAR_ZERO = 0.15
_TINY = 1e-4
"""Values below it are written with a power of ten: such as learning rates."""
_NEARLY = 1e-9


@dataclass(frozen=True, slots=True)
class Tick:
    """A round value on an axis: ``at`` 0 to 100 from its beginning, and how it is written."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Axis:
    """From ``low`` to ``high`` in the unit of the values; both above zero where it is logarithmic."""

    low: float
    high: float
    log: bool
    ticks: tuple[Tick, ...]

    def place(self, value: float) -> float:
        """Return where ``value`` stands, 0 to 100; what lies beyond the axis stands at its end."""
        return _place(value, self.low, self.high, log=self.log)


def axis_of(
    kind: Kind, values: Iterable[float], *, log: bool = False, from_zero: bool = False, snug: bool = False
) -> Axis:
    """Return an axis that holds every finite one of ``values`` and has two to six round ticks.

    Parameters
    ----------
    kind
        What the values are; shares that differ by more than half get the whole way from 0 to 1.
    log
        Logarithmic, where every value is above zero; else it stays straight.
    from_zero
        Zero must be on it, as bars need it.
    snug
        It ends where the values end, not at the next round value; it begins at zero where they nearly do.
    """
    finite = [value for value in values if isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if log and low > 0:
        return _log_axis(kind, low, high)
    # A way from 2 to 60 reads better from 0 to 60.
    from_zero = from_zero or (snug and 0 < low < _NEAR_ZERO * high)
    return _straight_axis(kind, *_widened(kind, low, high, from_zero=from_zero), snug=snug)


def round_up(value: float) -> float:
    """Return the least of 1, 2, 5, 10, 20, … times a power of ten that is no less than ``value`` above zero."""
    if not isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in _ROUND if step * power >= value * (1 - _NEARLY))


def _widened(kind: Kind, low: float, high: float, *, from_zero: bool) -> tuple[float, float]:
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if kind == "share" and high - low > _WHOLE_SHARE:
        return min(low, 0.0), max(high, 1.0)
    if high - low > _NEARLY * max(abs(low), abs(high)):
        return low, high
    room = 0.05 if kind == "share" else 0.1 * abs(high) or 1.0
    lowest = 0.0 if low >= 0 else -inf  # Nothing that is never negative gets an axis below zero.
    highest = 1.0 if kind == "share" and high <= 1 else inf
    return max(low - room, lowest), min(high + room, highest)


def _straight_axis(kind: Kind, low: float, high: float, *, snug: bool) -> Axis:
    step = _step(kind, low, high, snug=snug)
    first, last = _ends(low, high, step, snug=snug)
    bottom, top = (low, high) if snug else (first * step, last * step)
    ticks = (number * step for number in range(first, last + 1))
    return Axis(bottom, top, False, tuple(Tick(_place(v, bottom, top), _text(kind, v, step)) for v in ticks))


def _step(kind: Kind, low: float, high: float, *, snug: bool) -> float:
    """Return the smallest round step with few enough ticks."""
    step = round_up((high - low) / MOST_TICKS / 2)
    steps: Sequence[float] = [step * factor for factor in (1, 2, 2.5, 4, 5, 10, 20)]
    by_the_clock = kind == "seconds" and high - low > _ROUND_SECONDS[0]
    candidates = _ROUND_SECONDS if by_the_clock else [s for s in steps if _is_round(s)]
    for one in candidates:
        first, last = _ends(low, high, one, snug=snug)
        if last - first < MOST_TICKS:
            return one
    return round_up((high - low) / 2)


def _ends(low: float, high: float, step: float, *, snug: bool) -> tuple[int, int]:
    """Return the numbers of the first and the last tick: those just inside of the values, or just outside."""
    if snug:
        return ceil(low / step - _NEARLY), floor(high / step + _NEARLY)
    return floor(low / step + _NEARLY), ceil(high / step - _NEARLY)


def _is_round(step: float) -> bool:
    return abs(round_up(step) - step) <= _NEARLY * step


def _log_axis(kind: Kind, low: float, high: float) -> Axis:
    bottom, top = low / 1.06, high * 1.06
    values = _log_ticks(kind, bottom, top)
    ticks = tuple(Tick(_place(v, bottom, top, log=True), _text(kind, v, v)) for v in values)
    return Axis(bottom, top, True, ticks)


def _log_ticks(kind: Kind, low: float, high: float) -> list[float]:
    """Return the most round values between two ends that are no more than six, at least the two ends."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    if kind == "seconds" and high >= 30:
        inside = [s for s in _ROUND_SECONDS if low <= s <= high]
        every = ceil(len(inside) / MOST_TICKS)
        return inside[::every] if len(inside) > 1 else [low, high]
    for steps in _LOG_STEPS:
        inside = [v for power in powers for step in steps if low <= (v := step * 10.0**power) <= high]
        if 2 <= len(inside) <= MOST_TICKS:
            return inside
    every = ceil(len(powers) / MOST_TICKS)
    inside = [10.0**power for power in powers if low <= 10.0**power <= high][::every]
    return inside if len(inside) > 1 else [low, high]


def _place(value: float, low: float, high: float, *, log: bool = False) -> float:
    if isnan(value):
        return 0.0
    if log:
        value, low, high = log10(max(value, low)) if value < inf else inf, log10(low), log10(high)
    return round(100 * min(1.0, max(0.0, (value - low) / (high - low))), 2)


def _text(kind: Kind, value: float, step: float) -> str:
    value = 0.0 if abs(value) < _NEARLY * step else value
    if kind == "seconds":
        return _seconds(value, step).replace("-", "−")
    scaled, size = (100 * value, 100 * step) if kind == "share" else (value, step)
    if 0 < abs(scaled) < _TINY:
        text = f"{scaled:.3g}".replace("e-0", "e-")
    else:
        text = f"{scaled:.2e}" if abs(scaled) >= 1e7 else f"{scaled:,.{_decimals(size)}f}"
    return text.replace("-", "−") + ("\u00a0%" if kind == "share" else "")


def _seconds(value: float, step: float) -> str:
    if value == 0:
        return "0"
    if step < 60:
        return f"{value:,.{_decimals(step)}f}\u00a0s"
    minutes = value / 60
    if step < 1800 or minutes < 60:
        return f"{minutes:,g}\u00a0min"
    return f"{minutes / 60:,g}\u00a0h"


def _decimals(step: float) -> int:
    """Return how many decimals tell two ticks apart."""
    decimals = max(0, -floor(log10(abs(step)) + _NEARLY)) if step else 0
    return min(decimals, 6) if abs(round(step, decimals) - step) <= 1e-6 * abs(step) else min(decimals + 1, 6)
