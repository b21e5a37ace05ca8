"""What a modality offers beyond the least: parts of an input that a person can be shown alone."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from topwork.contracts.inputs import Preprocessing

__all__ = ["CutsRegions"]


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
