"""Values that many rooms pass on: arrays, JSON, estimates, progress, budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import isnan
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "Afterwards",
    "Array",
    "Budget",
    "Clock",
    "Estimate",
    "Json",
    "Metrics",
    "Progress",
    "joint_strata",
    "known_rows",
    "row_numbers",
    "strata_of",
]

Array: TypeAlias = npt.NDArray[Any]
Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value with its 95 % interval, all three in the metric's own unit."""

    value: float
    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """Whether there was anything to measure; the value is NaN where not."""
        return not isnan(self.value)

    def in_percent(self) -> str:
        """Return ``92.8 % (86.0 to 96.5)`` for a share of 0 to 1."""
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"

    def in_points(self) -> str:
        """Return ``+3.6 points (-1.2 to +8.4)`` for a difference of two shares."""
        return f"{100 * self.value:+.1f} points ({100 * self.low:+.1f} to {100 * self.high:+.1f})"


Metrics: TypeAlias = Mapping[str, Estimate]
"""Metric name, such as ``accuracy``, to its estimate."""


class Progress(Protocol):
    """How long work tells that it is alive; the terminal, a log or nothing stands behind it."""

    def say(self, line: str) -> None:
        """Show one line of plain words."""
        ...

    def track(self, title: str, total: int, unit: str) -> AbstractContextManager[Callable[[int], None]]:
        """Open a bar over ``total`` units; what it gives is called with the number of units just done."""
        ...


Clock: TypeAlias = Callable[[], float]
"""Seconds since some fixed moment, never going back (``time.perf_counter``)."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a fit may take: ``deadline_s`` is a reading of ``clock``; infinite means no limit."""

    clock: Clock
    deadline_s: float = float("inf")

    def remaining_s(self) -> float:
        """Return the seconds left; negative when it is overdrawn."""
        return self.deadline_s - self.clock()


@dataclass(frozen=True, slots=True)
class Afterwards:
    """What is still to be done within the budget when a recipe has trained the network.

    Attributes
    ----------
    n_rows
        Inputs that go through the trained network once more.
    row_s
        Seconds that one of them took when all were read; None where that is not known.
    delivery_s
        Seconds of what comes then, whatever the data.
    """

    n_rows: int = 0
    row_s: float | None = None
    delivery_s: float = 0.0

    def seconds(self, trained_row_s: float) -> float:
        """Return what to keep back; ``trained_row_s`` is what a row takes where it is trained on, a look at it."""
        return self.n_rows * (trained_row_s if self.row_s is None else self.row_s) + self.delivery_s


def row_numbers(mask: Array) -> Array:
    """Return the positions at which ``mask`` is true, ``int64`` ascending."""
    return np.flatnonzero(mask).astype(np.int64)


def known_rows(truth: Array) -> Array:
    """Tell of each row whether it has a truth, ``bool [n]``.

    Parameters
    ----------
    truth
        As `Target.encode` gives it, ``[n]`` or ``[n, m]``: a missing integer is below 0, a missing float is NaN. A
        row of several columns has a truth where all of them have.
    """
    known = truth >= 0 if truth.dtype.kind in "iu" else ~np.isnan(truth)
    return np.asarray(known.all(axis=tuple(range(1, known.ndim))))


def strata_of(truth: Array) -> Array:
    """Return the stratum of each row, ``int64 [n]``, for dealing rows evenly; -1 where a row has no truth.

    Parameters
    ----------
    truth
        ``int [n]``: a class, which is its own stratum; ``int [n, m]``: 1 where a row has a label and 0 where not, whose
        stratum is the rarest label that the row has, and m where it has none; ``float [n]``: all rows are one
        stratum; ``float [n, 2]``: a time, and 1 where an event happened then and 0 where not, which is the stratum. The
        rarest label counts because it is the one that a careless split would leave without any row.
    """
    known = known_rows(truth)
    if truth.dtype.kind not in "iu":
        return np.where(known, np.nan_to_num(truth[:, 1]) if truth.ndim > 1 else 0, -1).astype(np.int64)
    if truth.ndim == 1:
        return np.where(known, truth, -1)
    n_labels = truth.shape[1]
    n_rows = (truth > 0).sum(axis=0)
    rarest = np.where(truth > 0, n_rows, len(truth) + 1).argmin(axis=1)
    return np.where(known, np.where((truth > 0).any(axis=1), rarest, n_labels), -1)


def joint_strata(truths: Sequence[Array]) -> Array:
    """Return one stratum for each row over several targets, ``int64 [n]``; -1 where a row has no truth of any.

    A row belongs to a stratum of each target that it has a truth of (`strata_of`), and is dealt by the rarest of
    these: the one that a careless split would leave without any row. All numbers of a target are one stratum, and a
    rare one where most rows lack it. To begin with the rarest is the rule of Sechidis, Tsoumakas and Vlahavas, *On the
    Stratification of Multi-label Data*, 2011; here each row is dealt once, and what it brings of frequent strata is
    left to chance.

    Parameters
    ----------
    truths
        At least one, each as `strata_of` takes it and of the same rows.
    """
    n = len(truths[0])
    found = np.full(n, -1, dtype=np.int64)
    rarity = np.full(n, n + 1)
    n_before = 0
    for truth in truths:
        own = strata_of(truth)
        sizes = np.bincount(own[own >= 0], minlength=1)
        size = np.where(own >= 0, sizes[np.maximum(own, 0)], n + 1)
        is_rarer = size < rarity
        found[is_rarer] = own[is_rarer] + n_before
        rarity = np.minimum(rarity, size)
        n_before += len(sizes)
    return found
