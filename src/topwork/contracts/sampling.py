"""Beginning a fit with the features of some rows, where computing those of all of them would take too long.

It knows neither how rows are read nor what is fitted on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from topwork.contracts.values import Afterwards, Array

__all__ = ["Beginning", "Sample", "SamplingRecipe"]


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a recipe can begin: with ``n_rows`` inputs of the data, unless all are read in little time.

    That is less than ``share`` of what remains of the budget when those are read.
    """

    n_rows: int
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Which rows of a job have features; those of the others are zero.

    Attributes
    ----------
    known
        Places of these rows within the job's, ``int64`` ascending.
    more
        Computes features of further rows, drawn by the seed, until a reading of the clock, and fills them into the
        job's; returns what is known then, which may be no more than before.
    afterwards
        What is still to be done within the budget where the frozen network is the model's.
    """

    known: Array
    more: Callable[[float], Sample]
    afterwards: Afterwards


@runtime_checkable
class SamplingRecipe(Protocol):
    """What a recipe may say besides: that it can begin with the features of some rows, and with how many."""

    @property
    def beginning(self) -> Beginning:
        """Return how it begins where there are many rows."""
        ...
