"""What the sides of the training benchmarks are told; light, because every side and the benchmarks import it.

It knows no library and measures nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["BATCH", "SIDE_PX", "Fitting", "Looks"]

BATCH = 32
"""Photos of a step, where nothing else is said."""
SIDE_PX = 224
"""Photos are so many pixels high and wide, on every side."""

Looks = Literal["presize", "squish", "centre", "random"]
"""How a photo becomes a square.

fastai: ``presize`` as in its book (460 pixels, then a random part), or ``squish``ed to size at once, as topwork does;
each with `aug_transforms`. Plain PyTorch: ``random`` part and mirror, or the ``centre`` and mirror.
"""


@dataclass(frozen=True, slots=True)
class Fitting:
    """What a user of a training library may choose.

    Attributes
    ----------
    looks
        How a photo becomes a square.
    batch
        Photos of a step.
    optimiser
        Of the plain script; fastai has its own Adam.
    rate
        Peak learning rate; 0 takes what ``lr_find`` suggests in fastai, and the tutorial's own in the plain script.
    n_workers
        Processes that decode; 0 decodes in the process of the network.
    n_threads
        Threads of torch; 0 leaves them as they come.
    rests
        Whether threads sleep where they wait for each other, as topwork's do, in place of spinning.
    """

    looks: Looks
    batch: int = BATCH
    optimiser: Literal["adam", "sgd"] = "adam"
    rate: float = 0.0
    is_bf16: bool = False
    is_channels_last: bool = False
    n_workers: int = 0
    n_threads: int = 0
    rests: bool = False

    def shown(self) -> str:
        """Return the settings in a few words."""
        words = [
            self.looks,
            f"batch {self.batch}" if self.batch != BATCH else "",
            "bf16 autocast" if self.is_bf16 else "fp32",
            "channels_last" if self.is_channels_last else "",
            f"{self.n_workers} workers",
            f"{self.n_threads} threads" if self.n_threads else "",
            "threads sleep" if self.rests else "",
            f"rate {self.rate:.1e}" if self.rate else "",
        ]
        return ", ".join(word for word in words if word)
