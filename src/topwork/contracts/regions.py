"""What a modality may offer beyond the least: parts that a person can be shown alone, tokens that are counted."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from topwork.contracts.inputs import Preprocessing
from topwork.contracts.values import Array

__all__ = ["CountsTokens", "CutsRegions"]


@runtime_checkable
class CutsRegions(Protocol):
    """A modality whose inputs have parts that say something alone, as those of a picture do."""

    def region(
        self,
        encoded: bytes,
        box: tuple[float, float, float, float],
        preprocessing: Preprocessing,
        side_px: int,
    ) -> bytes:
        """Return a small JPEG of a part of what the network was shown: left, top, right and bottom, each 0 to 1.

        Raises
        ------
        DecodeError
            The input cannot be decoded.
        """
        ...


@runtime_checkable
class CountsTokens(Protocol):
    """A modality whose inputs are tokens to the network, by which its use is counted."""

    def n_tokens(self, tensor: Array) -> int:
        """Return how many tokens a decoded input has, those that begin and end it included."""
        ...
