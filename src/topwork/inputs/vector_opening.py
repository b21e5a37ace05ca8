"""Opening a vector of unknown origin: NumPy's file of one row of numbers, or numbers written out.

Whatever is wrong with the bytes ends here as a `DecodeError` in plain words. It knows no network and no label.
"""

from __future__ import annotations

import io
import re
from threading import Lock

import numpy as np

from topwork.contracts import Array
from topwork.errors import DecodeError
from topwork.inputs.vector_preprocessing import MOST_NUMBERS

__all__ = ["npy_of", "opened"]

_NPY = b"\x93NUMPY"
_BETWEEN = re.compile(r"[\s,;]+")
_SHOWN = 40
_HEADERS = Lock()
"""NumPy parses headers as Python, which may fail where several threads do so at once (CPython's issue 106905)."""
_MOST_BYTES = 32 * MOST_NUMBERS
"""Longer texts than this hold more numbers than are taken, or none."""


def opened(encoded: bytes) -> Array:
    """Return the numbers, ``float32 [n]``, all of them finite.

    Parameters
    ----------
    encoded
        The content of an ``.npy`` file; or text, its numbers between commas, semicolons or white space, with or
        without brackets around them all, as JSON has them.

    Raises
    ------
    DecodeError
        The bytes are neither, hold nothing, too much or several rows, or a number is not finite in 32 bits.
    """
    if len(encoded) > _MOST_BYTES:
        raise DecodeError(
            f"It has {len(encoded):,} bytes; a vector has at most {MOST_NUMBERS:,} numbers.",
            next_step="Give one row of numbers per input.",
        )
    found = _of_file(encoded) if encoded.startswith(_NPY) else _of_text(encoded)
    if not 1 <= len(found) <= MOST_NUMBERS:
        raise DecodeError(
            f"It holds {len(found):,} numbers; expected 1 to {MOST_NUMBERS:,}.",
            next_step="Give one row of numbers per input.",
        )
    with np.errstate(over="ignore"):
        numbers = found.astype(np.float32)
    if not np.isfinite(numbers).all():
        at = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise DecodeError(
            f"Number {at + 1} of {len(numbers):,} is {found[at]}; expected finite numbers that 32 bits can hold.",
            next_step="Replace what is missing, or leave the input out.",
        )
    return numbers


def npy_of(numbers: Array) -> bytes:
    """Return numbers ``[n]`` as the content of an ``.npy`` file of 32-bit floats."""
    stream = io.BytesIO()
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, which `opened` refuses
        np.lib.format.write_array(stream, np.ascontiguousarray(numbers, dtype="<f4"), version=(1, 0))
    return stream.getvalue()


def _of_file(encoded: bytes) -> Array:
    """Read NumPy's format without trusting what its header says of the size."""
    stream = io.BytesIO(encoded)
    try:
        version = np.lib.format.read_magic(stream)
        of_version = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
        with _HEADERS:
            shape, _, kind = of_version[version[0] - 1](stream)
        if kind.kind not in "biuf":
            raise DecodeError(
                f"The file holds {kind}; expected numbers.", next_step="Save an array of floats."
            )
        numbers = np.frombuffer(encoded, kind, offset=stream.tell())
    except (ValueError, IndexError, EOFError, SyntaxError, TypeError) as error:
        if isinstance(error, DecodeError):
            raise
        raise DecodeError(
            f"It begins like a NumPy file and cannot be read: {error}.", next_step="Save it again."
        ) from error
    if sum(side != 1 for side in shape) > 1 or np.prod(shape, dtype=object) != len(numbers):
        raise DecodeError(
            f"The file holds an array {list(shape)} in {len(numbers):,} numbers; expected one row.",
            next_step="Save each row as a file of its own.",
        )
    return numbers


def _of_text(encoded: bytes) -> Array:
    try:
        text = encoded.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise DecodeError(
            "It is neither a NumPy file nor numbers as text.",
            next_step="Send numbers such as [0.1, 2], or a .npy file.",
        ) from error
    if text[:1] == "[" and text[-1:] == "]":
        text = text[1:-1].strip()
    words = _BETWEEN.split(text) if text else []
    try:
        return np.array([float(word) for word in words])
    except ValueError as error:
        wrong = next(word for word in words if not _is_float(word))
        raise DecodeError(
            f"{wrong[:_SHOWN]!r} is no number; expected numbers between commas or blanks.",
            next_step="Send numbers such as [0.1, 2], or a .npy file.",
        ) from error


def _is_float(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
