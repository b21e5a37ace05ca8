"""JSON as the bundle writes and reads it: plain ASCII, finite numbers, no key twice.

It knows nothing of what the text is about. Reading is strict because a bundle may come from anybody: the
standard parser takes ``NaN``, keeps the last of two equal keys and, nested deep enough, ends the program.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from topwork.errors import BundleError

__all__ = ["decode_json", "decode_object", "encode_json"]


def encode_json(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """Write ``value`` as JSON; the same value gives the same bytes.

    Everything beyond ASCII is escaped, so that a file name that is not valid Unicode survives as well.

    Raises
    ------
    ValueError
        A number is not finite; the caller decides how to say that.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")


def decode_json(data: bytes, part: str) -> Any:
    """Read JSON strictly.

    Raises
    ------
    BundleError
        ``part``, which the message names, is not valid JSON in UTF-8.
    """
    try:
        text = data.decode("utf-8")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise BundleError(f"{part} is not valid JSON: it is nested too deep.") from error
    except ValueError as error:
        raise BundleError(f"{part} is not valid JSON: {error}.") from error


def decode_object(data: bytes, part: str) -> dict[str, Any]:
    """Read JSON strictly and expect an object.

    Raises
    ------
    BundleError
        ``part`` is not valid JSON, or something else than an object.
    """
    value = decode_json(data, part)
    if not isinstance(value, dict):
        raise BundleError(f"{part} holds a JSON {type(value).__name__}; an object was expected.")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")
