"""Memory for decoding: what a modality asks for before it decodes an input that may be far larger than its bytes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from topwork.contracts.inputs import Modality

__all__ = ["Allowance", "BoundedDecoding", "decoding_within"]


class Allowance(Protocol):
    """Memory that several threads share."""

    def held(self, n_bytes: int) -> AbstractContextManager[None]:
        """Hold so much of it until the block ends; wait where others hold too much.

        Raises
        ------
        DecodeError
            So much is never given to one input.
        """
        ...


@runtime_checkable
class BoundedDecoding(Protocol):
    """A modality that knows of an input how large it will be, before it decodes it."""

    def within(self, allowance: Allowance) -> Modality:
        """Return the same modality, which asks for memory before it decodes."""
        ...


def decoding_within(modality: Modality, allowance: Allowance) -> Modality:
    """Return the modality within an allowance, or as it is where its inputs do not grow when they are decoded."""
    return modality.within(allowance) if isinstance(modality, BoundedDecoding) else modality
