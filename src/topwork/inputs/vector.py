"""Vectors: one row of numbers per input, computed by something that topwork does not run.

They may be the features of another network (of sounds, of molecules), or measurements. What the numbers mean it does
not know: it holds their count, and that they are finite.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from topwork.contracts import Array, Decoded, Json, Piece, Preprocessing, Remark, Shown, Wire
from topwork.errors import DecodeError, UsageError
from topwork.inputs.files import read_file
from topwork.inputs.vector_opening import npy_of, opened
from topwork.inputs.vector_preprocessing import VectorPreprocessing

__all__ = ["VECTOR", "VectorModality"]

_REVISION = 1  # raise it when the same vector and specification give another tensor
_SUFFIXES = (".npy",)
_WIRE = Wire(
    in_json="numbers",
    media_types=("text/csv", "text/plain"),
    widget="textarea",
    max_bytes=4 * 1024 * 1024,  # some 200,000 numbers, written out
    noun="vector",
)
_PX_PER_NUMBER = 10
_SYNTHETIC_LENGTH = 8
"""Numbers of a synthetic vector that is made for no specification."""


class VectorModality:
    """Rows of numbers; see `VECTOR`, the only one there is."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Return ``vector``."""
        return "vector"

    @property
    def suffixes(self) -> frozenset[str]:
        """Suffixes that a folder reader picks up: a NumPy file of one row each."""
        return frozenset(_SUFFIXES)

    @property
    def wire(self) -> Wire:
        """A list of numbers in JSON, a field to write them into in a form."""
        return _WIRE

    @property
    def decoder(self) -> str:
        """Our revision: numbers are what they are in every version of NumPy."""
        return f"vector {_REVISION}"

    def encode(self, item: object) -> bytes:
        """Turn a row of numbers, the path of a file, or bytes into an encoded vector.

        Raises
        ------
        DecodeError
            The file cannot be read, or a list holds something else than numbers.
        UsageError
            An array has several rows.
        """
        if isinstance(item, bytes | bytearray | memoryview):
            return bytes(item)
        if isinstance(item, str | Path):
            return read_file(Path(item))
        return npy_of(_row(item))

    def decode(self, encoded: bytes, preprocessing: Preprocessing) -> Decoded:
        """Decode a vector into ``float32 [n_numbers]``; there are no facts to tell of one.

        Raises
        ------
        DecodeError
            The bytes are no row of finite numbers, or there are more or fewer of them.
        UsageError
            The specification belongs to another modality.
        """
        expected = _own(preprocessing).n_numbers
        numbers = opened(encoded)
        if expected and len(numbers) != expected:
            raise DecodeError(
                f"It has {len(numbers):,} numbers; expected {expected:,}.",
                next_step="Give vectors of one length, from one source.",
            )
        digest = hashlib.sha256(numbers.tobytes()).digest()
        return Decoded(numbers, np.frombuffer(digest, np.uint8), {})

    def preprocessing(self, stored: Mapping[str, Json]) -> VectorPreprocessing:
        """Read what `VectorPreprocessing.to_json` wrote.

        Raises
        ------
        UsageError
            A key is missing or unknown, or the value out of range.
        """
        if set(stored) != {"n_numbers"}:
            raise UsageError(
                f"The vector preprocessing has the keys {', '.join(sorted(stored)) or 'none'}.",
                next_step="It has exactly this one: n_numbers.",
            )
        return VectorPreprocessing(stored["n_numbers"])  # type: ignore[arg-type]  # __post_init__ checks it

    def inspection_preprocessing(self) -> VectorPreprocessing:
        """Return a specification that takes any length."""
        return VectorPreprocessing(0)

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """Nothing."""
        return ()

    def near_duplicates(self, fingerprints: Array) -> Array:
        """Return ``int64 [p, 2]``: each row with the first one that holds the same numbers, first < second."""
        first: dict[bytes, int] = {}
        pairs = [(first.setdefault(one.tobytes(), row), row) for row, one in enumerate(fingerprints)]
        return np.array([p for p in pairs if p[0] != p[1]], dtype=np.int64).reshape(-1, 2)

    def canvas(self, preprocessing: Preprocessing) -> VectorPreprocessing:
        """Return the same specification: vectors are not varied."""
        return _own(preprocessing)

    def vary(self, canvas: Array, preprocessing: Preprocessing, draw: np.random.Generator) -> Array:  # noqa: ARG002
        """Return the numbers as they are: nobody knows which others would mean the same."""
        _own(preprocessing)
        return canvas

    def languages(self, encoded: Iterable[bytes]) -> Mapping[str, float]:  # noqa: ARG002
        """Return nothing: numbers are in no language."""
        return {}

    @property
    def described_by(self) -> str:
        """Return what `classical` looks at."""
        return "the numbers themselves"

    def classical(self, encoded: bytes) -> Array:
        """Return the numbers.

        Raises
        ------
        DecodeError
            The bytes are no row of finite numbers.
        """
        return opened(encoded)

    def tabulate(self, fitted: Sequence[Array | str], tested: Sequence[Array | str]) -> tuple[Array, Array]:
        """Stack the numbers; an input that could not be read is a row of zeros."""
        width = max((len(one) for one in (*fitted, *tested)), default=0)
        return _stacked(fitted, width), _stacked(tested, width)

    def show(self, encoded: bytes, side_px: int) -> Shown:
        """Return the first numbers to three digits, and how many there are in all.

        Raises
        ------
        DecodeError
            The bytes are no row of finite numbers.
        """
        numbers = opened(encoded)
        n_shown = max(1, side_px // _PX_PER_NUMBER)
        told = ", ".join(f"{one:.3g}" for one in numbers[:n_shown])
        rest = f", … ({len(numbers):,} numbers)" if len(numbers) > n_shown else ""
        return Shown(pieces=(Piece(told + rest),))

    def overlay(self, encoded: bytes, heat: Array, preprocessing: Preprocessing, side_px: int) -> Shown:  # noqa: ARG002
        """Return what `show` gives: there is no place for heat.

        Raises
        ------
        DecodeError
            The bytes are no row of finite numbers.
        """
        return self.show(encoded, side_px)

    def parts(self, tensor: Array) -> None:  # noqa: ARG002
        """Return nothing: a 0 is a number like any other, not the absence of one."""
        return

    def synthetic(self, n: int, seed: int, preprocessing: Preprocessing | None = None) -> tuple[bytes, ...]:
        """Make ``n`` vectors of normal noise, as long as the specification has them; the same for the same seed."""
        length = (_own(preprocessing).n_numbers if preprocessing else 0) or _SYNTHETIC_LENGTH
        draw = np.random.default_rng(seed)
        return tuple(npy_of(draw.normal(size=length)) for _ in range(n))


VECTOR = VectorModality()
"""The vector modality."""


def _row(item: object) -> Array:
    """Return an array or a list of numbers as one row."""
    try:
        row = np.asarray(item)
        numbers = row if row.dtype.kind in "biuf" else row.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DecodeError(
            f"Received {type(item).__name__} that holds something else than numbers: {error}.",
            next_step="Give one list of numbers per input.",
        ) from error
    if numbers.ndim != 1:
        raise UsageError(f"Received an array {list(numbers.shape)}; expected one row of numbers.")
    return numbers


def _stacked(several: Sequence[Array | str], width: int) -> Array:
    rows = np.zeros((len(several), width), dtype=np.float32)
    for row, one in zip(rows, several, strict=True):
        if not isinstance(one, str):
            row[: len(one)] = one
    return rows


def _own(preprocessing: Preprocessing) -> VectorPreprocessing:
    if not isinstance(preprocessing, VectorPreprocessing):
        raise UsageError(f"A vector cannot be decoded with a preprocessing for {preprocessing.modality}.")
    return preprocessing
