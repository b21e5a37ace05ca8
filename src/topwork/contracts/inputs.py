"""What a modality is: how an encoded input becomes a tensor, and how it travels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from topwork.contracts.values import Array, Json

__all__ = ["Decoded", "Modality", "Preprocessing", "Wire"]


class Preprocessing(Protocol):
    """A frozen specification of how an encoded input becomes a tensor; proposed by the trunk, kept in the bundle."""

    @property
    def modality(self) -> str:
        """Name of the modality that executes it."""
        ...

    def to_json(self) -> Mapping[str, Json]:
        """Return what `Modality.preprocessing` reads back."""
        ...


@dataclass(frozen=True, slots=True)
class Decoded:
    """One input after decoding.

    Attributes
    ----------
    tensor
        What the network is given; for an image ``uint8 [height, width, 3]``, RGB.
    fingerprint
        ``uint8 [m]``, ``m`` fixed per modality; near duplicates have near fingerprints.
    facts
        What can be said of the original without a model, such as ``width`` in pixels.
    """

    tensor: Array
    fingerprint: Array
    facts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Wire:
    """How one input travels over HTTP and what the form shows; a server needs nothing else of a modality.

    ``in_json`` says how the bytes stand in a JSON string: ``base64``, or ``text`` for plain UTF-8.
    """

    in_json: Literal["base64", "text"]
    media_types: tuple[str, ...]
    widget: Literal["file", "textarea"]
    max_bytes: int
    noun: str


class Modality(Protocol):
    """One kind of input. An *encoded* input is always bytes: a photo's file, a text's UTF-8."""

    @property
    def name(self) -> str:
        """Return the name, such as ``image``."""
        ...

    @property
    def suffixes(self) -> frozenset[str]:
        """File suffixes that a folder reader picks up; lower case with the dot."""
        ...

    @property
    def wire(self) -> Wire:
        """How an input travels over HTTP."""
        ...

    @property
    def decoder(self) -> str:
        """Name and version of what decodes; text that differs whenever tensors may differ."""
        ...

    def encode(self, item: object) -> bytes:
        """Turn what a Python caller has (a path, bytes, an object, an array) into an encoded input."""
        ...

    def decode(self, encoded: bytes, preprocessing: Preprocessing) -> Decoded:
        """Decode within limits.

        Raises
        ------
        DecodeError
            The input is broken, empty, of another kind, or over a limit.
        """
        ...

    def preprocessing(self, stored: Mapping[str, Json]) -> Preprocessing:
        """Read a specification that `Preprocessing.to_json` wrote; an unknown key is an error."""
        ...

    def inspection_preprocessing(self) -> Preprocessing:
        """Return a cheap specification for looking at data when no trunk is chosen."""
        ...

    def near_duplicates(self, fingerprints: Array) -> Array:
        """Return ``int64 [p, 2]``: pairs of rows of ``uint8 [n, m]`` that show the same thing; first < second."""
        ...

    def canvas(self, preprocessing: Preprocessing) -> Preprocessing:
        """Return a specification whose tensors are somewhat larger, for `vary` to draw from."""
        ...

    def vary(self, canvas: Array, preprocessing: Preprocessing, draw: np.random.Generator) -> Array:
        """Draw a tensor as ``preprocessing`` has it that shows the same thing a little differently."""
        ...

    def classical(self, encoded: bytes) -> Array:
        """Describe an input as ``float32 [m]`` without any learned network, ``m`` fixed per modality.

        Raises
        ------
        DecodeError
            The input cannot be decoded.
        """
        ...

    def thumbnail(self, encoded: bytes, side_px: int) -> bytes:
        """Return a small JPEG for a person to look at, its longer side at most ``side_px``."""
        ...

    def overlay(self, encoded: bytes, heat: Array, preprocessing: Preprocessing, side_px: int) -> bytes:
        """Return a thumbnail with ``heat float32 [h, w]``, 0 to 1, laid over what the network was shown of it."""
        ...

    def synthetic(self, n: int, seed: int) -> tuple[bytes, ...]:
        """Make ``n`` encoded inputs out of nobody's data, for proofs that may hold no training data."""
        ...
