"""A request's body becomes inputs: raw bytes, multipart/form-data, or JSON.

It knows no modality beyond its `Wire`, and decodes no input. The reader is chosen from the headers before
a byte of the body is read; what it does then runs in a worker thread, since a hostile body may be slow
to parse.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from topwork.serving.http.numerals import Run, parsed
from topwork.serving.http.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from topwork.contracts import Wire

__all__ = ["Input", "Reader", "Unreadable", "bounded", "check_count", "from_json", "kind_of", "reader_for"]

LONGEST_BOUNDARY = 70  # RFC 2046, 5.1.1


@dataclass(frozen=True, slots=True)
class Unreadable:
    """One of several inputs that could not be taken out of the body, and why."""

    problem: str


Input: TypeAlias = bytes | Unreadable


@dataclass(frozen=True, slots=True)
class Reader:
    """How the bodies of one media type are read; ``max_bytes`` bounds a body, ``read`` may refuse."""

    read: Callable[[bytes], tuple[Input, ...]]
    max_bytes: int


def reader_for(content_type: str, wire: Wire, *, max_inputs: int, max_body_bytes: int) -> Reader:
    """Choose by the request's ``content-type``.

    Raises
    ------
    Refusal
        It is none that this model takes, or a multipart type without a usable boundary.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        read = partial(read_multipart, boundary=_boundary(content_type), wire=wire, max_inputs=max_inputs)
        return Reader(read, max_body_bytes)
    if media_type == "application/json":
        return Reader(partial(read_json, wire=wire, max_inputs=max_inputs), max_body_bytes)
    if media_type in ("", "application/octet-stream") or any(
        _matches(media_type, taken) for taken in wire.media_types
    ):
        return Reader(partial(read_raw, wire=wire), min(wire.max_bytes, max_body_bytes))
    raise Refusal(
        "unsupported_media_type",
        f"The request's content type is {media_type[:100]!r}; this model takes {', '.join(accepted(wire))}.",
        next_step=f"Send the {wire.noun} as it is with the header `Content-Type: application/octet-stream`.",
    )


def accepted(wire: Wire) -> tuple[str, ...]:
    """Return every media type of a request body."""
    return (*wire.media_types, "application/octet-stream", "multipart/form-data", "application/json")


def _matches(media_type: str, taken: str) -> bool:
    return media_type == taken or (taken.endswith("/*") and media_type.startswith(taken[:-1]))


# --- raw ----------------------------------------------------------------------------------------------


def read_raw(content: bytes, *, wire: Wire) -> tuple[Input, ...]:
    """Take the whole body as one input."""
    if not content:
        raise Refusal(
            "bad_request",
            f"The request body is empty; expected one {wire.noun}.",
            next_step="Send the bytes as the body, or use multipart/form-data or JSON; see /docs.",
        )
    return (bounded(content, wire),)


def bounded(content: bytes, wire: Wire) -> Input:
    """Return one input, or why it is too large for its kind."""
    if len(content) > wire.max_bytes:
        return Unreadable(
            f"This {wire.noun} has {len(content):,} bytes; at most {wire.max_bytes:,} are taken.\nSend a smaller one."
        )
    return content


# --- JSON ---------------------------------------------------------------------------------------------


def read_json(content: bytes, *, wire: Wire, max_inputs: int) -> tuple[Input, ...]:
    """Take ``{"input": "…"}`` or ``{"inputs": ["…", …]}``; of numbers ``{"input": [0.1, …]}`` or a list of such lists.

    Raises
    ------
    Refusal
        400 where it is not JSON, 422 where it is other JSON than this.
    """
    found = _found(_parse(content, wire, max_inputs), wire)
    check_count(len(found), max_inputs)
    return tuple(from_json(one, wire) for one in found)


def from_json(value: str | list[Any] | Run, wire: Wire) -> Input:
    """Turn what stands for one input in JSON into that input."""
    one = _DECODERS[wire.in_json](value)
    return bounded(one, wire) if isinstance(one, bytes) else one


def _parse(content: bytes, wire: Wire, max_inputs: int) -> object:
    try:
        return parsed(content, max_inputs) if wire.in_json == "numbers" else json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _no_json(
            "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        ) from None


def _no_json(reason: str) -> Refusal:
    return Refusal(
        "bad_request",
        f"The request body is not JSON: {reason}.",
        next_step='Send {"input": "…"} or {"inputs": ["…"]} in UTF-8.',
    )


def _found(value: object, wire: Wire) -> list[Any]:
    expected = _EXPECTED[wire.in_json].format(noun=wire.noun)
    step = f'Send {{"input": {expected}}} or {{"inputs": [{expected}, …]}}.'
    if not isinstance(value, dict) or set(value) not in ({"input"}, {"inputs"}):
        got = (
            f"an object with the keys {str(sorted(value)[:8])[:200]}"
            if isinstance(value, dict)
            else kind_of(value)
        )
        raise Refusal("bad_input", f'Expected an object with "input" or "inputs", got {got}.', next_step=step)
    found = [value["input"]] if "input" in value else value["inputs"]
    if isinstance(found, Run):
        raise Refusal("bad_input", "Input 0 must be a list of numbers, got a number.", next_step=step)
    if not isinstance(found, list):
        raise Refusal("bad_input", f'"inputs" must be a list, got {kind_of(found)}.', next_step=step)
    kind, words = ((list, Run), "a list of numbers") if wire.in_json == "numbers" else ((str,), "a string")
    for index, one in enumerate(found):
        if not isinstance(one, kind):
            raise Refusal("bad_input", f"Input {index} must be {words}, got {kind_of(one)}.", next_step=step)
        if isinstance(one, list):
            _check_numbers(one, f"Input {index}", step)
    return found


def _check_numbers(values: list[Any], what: str, step: str) -> None:
    for place, value in enumerate(values):
        if type(value) not in (int, float):
            problem = f"{what} must be a list of numbers; at place {place} it holds {kind_of(value)}."
            raise Refusal("bad_input", problem, next_step=step)


def kind_of(value: object) -> str:
    """Return what a JSON value is, in words."""
    names = {
        dict: "an object",
        list: "a list",
        Run: "a list",
        str: "a string",
        bool: "true or false",
        type(None): "null",
    }
    return names.get(type(value), "a number")


def _from_base64(text: str) -> Input:
    # Browsers give `data:image/png;base64,…`; both the prefix and line breaks are common and harmless.
    payload = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(payload.split()), validate=True)
    except (binascii.Error, ValueError):
        return Unreadable(
            "This string is not base64.\nEncode the bytes with the standard alphabet and padding."
        )


def _from_text(text: str) -> Input:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return Unreadable("This string holds half of a surrogate pair, which is no text.")


def _from_numbers(numbers: list[Any] | Run) -> Input:
    """Return numbers as they are written; those of a long list are looked at, and kept as they were sent."""
    if isinstance(numbers, list):
        return json.dumps(numbers).encode("ascii")
    try:
        numbers.require_numbers()
    except ValueError as error:
        raise _no_json(str(error)) from None
    return numbers.text


_DECODERS: Final[Mapping[str, Callable[[Any], Input]]] = MappingProxyType(
    {"base64": _from_base64, "text": _from_text, "numbers": _from_numbers}
)
_EXPECTED: Final[Mapping[str, str]] = MappingProxyType(
    {"base64": '"<base64 of the {noun}>"', "text": '"<{noun}>"', "numbers": "[0.1, 2, …]"}
)


def check_count(n_inputs: int, max_inputs: int) -> None:
    """Refuse a request without any input, or with too many.

    Raises
    ------
    Refusal
        422.
    """
    if n_inputs == 0:
        raise Refusal(
            "bad_input", "The request holds no input; expected at least one.", next_step="See /docs."
        )
    if n_inputs > max_inputs:
        raise Refusal(
            "bad_input",
            f"The request holds more than {max_inputs} inputs.",
            next_step=f"Send at most {max_inputs} in one request.",
        )


# --- multipart ----------------------------------------------------------------------------------------


def _boundary(content_type: str) -> bytes:
    from python_multipart.multipart import parse_options_header

    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 0 < len(boundary) <= LONGEST_BOUNDARY:
        raise Refusal(
            "bad_request",
            f"The content type multipart/form-data has a boundary of {len(boundary)} characters; "
            f"expected 1 to {LONGEST_BOUNDARY}.",
            next_step="Let your HTTP client set the content type of the form.",
        )
    return boundary


@dataclass(slots=True)
class _Parts:
    """Collects the parts of a form while it is parsed; each part, file or field, is one input."""

    max_inputs: int
    contents: list[bytes] = field(default_factory=list)
    finished: bool = False
    _content: bytearray = field(default_factory=bytearray)
    _header: bytearray = field(default_factory=bytearray)
    _no_file: bool = False

    def begin(self) -> None:
        self._content, self._no_file = bytearray(), False

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def header_end(self) -> None:
        # What a browser sends for a file field in which nothing was chosen.
        self._no_file |= b'filename=""' in self._header
        self._header.clear()

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._content += memoryview(data)[start:end]

    def part_end(self) -> None:
        if self._content or not self._no_file:
            self.contents.append(bytes(self._content))
            check_count(len(self.contents), self.max_inputs)

    def end(self) -> None:
        self.finished = True


def read_multipart(content: bytes, *, boundary: bytes, wire: Wire, max_inputs: int) -> tuple[Input, ...]:
    """Take every part of a form, whatever its name, as one input.

    Raises
    ------
    Refusal
        It is no form, breaks off, or holds no part or too many.
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser

    parts = _Parts(max_inputs)
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": parts.begin,
            "on_header_value": parts.header_value,
            "on_header_end": parts.header_end,
            "on_part_data": parts.part_data,
            "on_part_end": parts.part_end,
            "on_end": parts.end,
        },
    )
    try:
        parser.write(content)
    except FormParserError as error:
        raise _broken_form(str(error)) from None
    if not parts.finished:
        raise _broken_form("it ends before its closing boundary")
    check_count(len(parts.contents), max_inputs)
    return tuple(bounded(part, wire) for part in parts.contents)


def _broken_form(reason: str) -> Refusal:
    return Refusal(
        "bad_request",
        f"The request body is not multipart/form-data: {reason}.",
        next_step="Let your HTTP client build the form; with curl: -F file=@NAME.",
    )
