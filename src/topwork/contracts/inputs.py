"""What a modality is: how an encoded input becomes a tensor, and how it travels."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from topwork.contracts.sections import Piece
from topwork.contracts.values import Array, Json

__all__ = ["Decoded", "Modality", "Preprocessing", "Remark", "Shown", "Wire"]


class Preprocessing(Protocol):
    """A frozen specification of how an encoded input becomes a tensor; proposed by the trunk, kept in the bundle."""

    @property
    def modality(self) -> str:
        """Name of the modality that executes it."""
        ...

    def to_json(self) -> Mapping[str, Json]:
        """Return what `Modality.preprocessing` reads back."""
        ...

    def describe(self) -> str:
        """Return one line for a person."""
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
class Shown:
    """What a person is shown of an input: a small JPEG, or a text in pieces."""

    jpeg: bytes = b""
    pieces: tuple[Piece, ...] = ()

    @property
    def jpeg_base64(self) -> str:
        """Return the picture as text; empty where there is none."""
        return base64.b64encode(self.jpeg).decode("ascii")


@dataclass(frozen=True, slots=True)
class Wire:
    """How one input travels over HTTP and what the form shows; a server needs nothing else of a modality.

    ``in_json`` says how the bytes stand in JSON: as a string of ``base64`` or, for plain UTF-8, of ``text``; with
    ``numbers`` they are the list of numbers that stands there.
    """

    in_json: Literal["base64", "text", "numbers"]
    media_types: tuple[str, ...]
    widget: Literal["file", "textarea"]
    max_bytes: int
    noun: str


@dataclass(frozen=True, slots=True)
class Remark:
    """What a fact of `Decoded.facts` means where it is above a limit; ``{}`` in ``said`` stands for how many inputs."""

    fact: str
    above: float
    said: str


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

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What is worth telling of a data set by the facts of its inputs."""
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

    def languages(self, encoded: Iterable[bytes]) -> Mapping[str, float]:
        """Return which share of inputs is in which language (ISO 639-1; ``und`` for unknown); empty without any."""
        ...

    @property
    def described_by(self) -> str:
        """What `classical` looks at, in words for a person, such as ``shapes and colours``."""
        ...

    def classical(self, encoded: bytes) -> Array | str:
        """Describe an input without any learned network: ``float32 [m]``, ``m`` fixed per modality, or words.

        Raises
        ------
        DecodeError
            The input cannot be decoded.
        """
        ...

    def tabulate(self, fitted: Sequence[Array | str], tested: Sequence[Array | str]) -> tuple[Any, Any]:
        """Turn what `classical` gave into matrices ``[n, m]``, dense or sparse (SciPy's CSR).

        What must be learned for it, such as which words there are, is learned from ``fitted`` alone. An input that
        could not be described is empty.
        """
        ...

    def show(self, encoded: bytes, side_px: int) -> Shown:
        """Return a small picture, its longer side at most ``side_px``, or as much of a text as fits as well.

        Raises
        ------
        DecodeError
            The input cannot be decoded.
        """
        ...

    def overlay(self, encoded: bytes, heat: Array, preprocessing: Preprocessing, side_px: int) -> Shown:
        """Return what `show` gives with heat ``float32`` on what the network was shown of it.

        For pictures the heat is ``[h, w]``, 0 to 1; for texts ``[k, w]`` as the tensor, below 0 where a token speaks
        against.
        """
        ...

    def parts(self, tensor: Array) -> Array | None:
        """Return ``bool [m, ...]``: parts of a tensor that can be taken away, set to 0, one at a time.

        None where a part that is gone would be something else rather than nothing, as a black patch in a photo is.
        """
        ...

    def synthetic(self, n: int, seed: int, preprocessing: Preprocessing | None = None) -> tuple[bytes, ...]:
        """Make ``n`` encoded inputs out of nobody's data, for proofs that may hold no training data.

        ``preprocessing`` is what will decode them, for inputs that must have a size of its own.
        """
        ...
