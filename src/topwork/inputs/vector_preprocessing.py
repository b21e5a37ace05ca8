"""How a vector becomes a tensor: as many numbers as it must have. It reads none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from topwork.contracts import Json
from topwork.errors import UsageError

__all__ = ["MOST_NUMBERS", "VectorPreprocessing"]

MOST_NUMBERS = 1_000_000


@dataclass(frozen=True, slots=True)
class VectorPreprocessing:
    """How a vector becomes ``float32 [n_numbers]``; 0 takes any length, for a look at data.

    Attributes
    ----------
    n_numbers
        Length that a vector must have, at most `MOST_NUMBERS`.
    """

    n_numbers: int

    def __post_init__(self) -> None:
        n = self.n_numbers
        if not isinstance(n, int) or isinstance(n, bool) or not 0 <= n <= MOST_NUMBERS:
            raise UsageError(f"n_numbers is {n!r}; expected 0 to {MOST_NUMBERS}.")

    @property
    def modality(self) -> str:
        """Return ``vector``."""
        return "vector"

    def to_json(self) -> Mapping[str, Json]:
        """Return the field by its name."""
        return {"n_numbers": self.n_numbers}

    def describe(self) -> str:
        """Return the length."""
        return f"{self.n_numbers} numbers" if self.n_numbers else "any number of numbers"
