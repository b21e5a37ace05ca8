"""What both sides of the extraction benchmark are told; light, because the benchmark itself imports it too."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TRUNK", "Settings"]

TRUNK = "efficientnet-lite0"
"""The network of both sides."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user of timm and torch may choose.

    Attributes
    ----------
    n_workers
        Processes of the DataLoader; 0 decodes in the process of the network.
    n_threads
        Threads of torch; 0 leaves them as they come.
    reduces_early
        Whether a JPEG is reduced while it is decoded, which timm's transforms leave out.
    """

    n_workers: int = 0
    batch_size: int = 32
    is_bf16: bool = False
    is_channels_last: bool = False
    n_threads: int = 0
    reduces_early: bool = False

    def shown(self) -> str:
        """Return the settings in a few words."""
        words = [
            "bf16" if self.is_bf16 else "fp32",
            "channels_last" if self.is_channels_last else "",
            f"batch {self.batch_size}",
            f"{self.n_workers} workers",
            f"{self.n_threads} threads" if self.n_threads else "",
            "early reduction" if self.reduces_early else "",
        ]
        return ", ".join(word for word in words if word)
