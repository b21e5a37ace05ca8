"""From what a trial measured to the ranges that are told beforehand. It knows no network."""

from __future__ import annotations

import sys

__all__ = ["RANGE", "peak_bytes", "range_of"]

RANGE = (0.75, 1.45)
"""What a measured time or size is multiplied by for the ends of its range."""


def range_of(value: float) -> tuple[float, float]:
    """Return the range that is told for something measured in a trial; its top is less than twice its bottom."""
    return RANGE[0] * value, RANGE[1] * value


def peak_bytes() -> int:
    """Return the most memory that this process has held so far; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
