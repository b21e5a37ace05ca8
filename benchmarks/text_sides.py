"""What the sides of the text benchmarks are told; light, because every side and the benchmarks import it.

It knows no library and measures nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TRUNK", "TrainerSettings"]

TRUNK = "all-minilm-l6-v2"
"""The network of all sides."""


@dataclass(frozen=True, slots=True)
class TrainerSettings:
    """What a user of Hugging Face's ``Trainer`` may choose; the first values are its own defaults.

    Attributes
    ----------
    is_grouped
        Whether texts of like length go together.
    warmup
        Share of the steps in which the rate goes up.
    """

    rate: float = 5e-5
    batch: int = 8
    n_epochs: float = 3.0
    is_grouped: bool = False
    warmup: float = 0.0

    def shown(self) -> str:
        """Return the settings in a few words."""
        words = [
            f"rate {self.rate:.0e}",
            f"batch {self.batch}",
            f"{self.n_epochs:g} epochs",
            "grouped by length" if self.is_grouped else "",
            f"warm-up {self.warmup:g}" if self.warmup else "",
        ]
        return ", ".join(word for word in words if word)
