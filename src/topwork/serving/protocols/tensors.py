"""Tensors as the Open Inference Protocol, version 2, has them over HTTP: in JSON, or as binary data behind it.

Source: https://github.com/kserve/open-inference-protocol and, for the binary data, Triton's extension
``binary_tensor_data``. It knows no model: what a tensor holds, and whether a model takes it, others decide.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from topwork.contracts import Array
from topwork.serving.http.bodies import kind_of
from topwork.serving.http.messages import dumps
from topwork.serving.http.numerals import Run, parsed
from topwork.serving.http.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from topwork.contracts import Json

__all__ = [
    "CODES",
    "NUMERIC",
    "Inference",
    "Tensor",
    "Wanted",
    "bounds_of",
    "read_inference",
    "write_inference",
]

Values: TypeAlias = "list[Any] | tuple[Any, ...] | Array"

CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "BOOL": "?",
        "UINT8": "B",
        "UINT16": "H",
        "UINT32": "I",
        "UINT64": "Q",
        "INT8": "b",
        "INT16": "h",
        "INT32": "i",
        "INT64": "q",
        "FP16": "e",
        "FP32": "f",
        "FP64": "d",
    }
)
"""Datatype to the letter that `struct` and NumPy have for it; BYTES has lengths of its own, BF16 is not taken."""

NUMERIC: Final = tuple(name for name in CODES if name != "BOOL")
KINDS: Final[Mapping[str, tuple[type, ...]]] = MappingProxyType(
    {"BYTES": (str,), "BOOL": (bool,)}
    | {name: (int, float) if name.startswith("FP") else (int,) for name in NUMERIC}
)
LARGEST: Final[Mapping[str, float]] = MappingProxyType(
    {"FP16": 65504.0, "FP32": (2 - 2**-23) * 2.0**127, "FP64": sys.float_info.max}
)
"""Largest finite numbers of IEEE 754."""

MOST_DIMENSIONS = 2
LENGTH = struct.Struct("<I")
STEP = "GET /v2/models/{name} tells names, datatypes and shapes; see /docs."


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named array.

    Attributes
    ----------
    datatype
        ``BYTES`` or a key of `CODES`.
    shape
        At most two dimensions.
    values
        Row by row. Of ``BYTES`` they are text where the tensor stood in JSON, and bytes where it came behind it. Many
        numbers, and all that came behind it, are an array.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Values


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that is asked for, and whether it is to come as binary data."""

    name: str
    binary: bool


@dataclass(frozen=True, slots=True)
class Inference:
    """One request: its tensors, and which outputs are asked for; ``outputs`` is None where the client left it open."""

    id: str | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[Wanted, ...] | None
    binary: bool


# --- reading ------------------------------------------------------------------------------------------


def read_inference(
    content: bytes, header_length: str | None, most_numeric_inputs: int | None = None
) -> Inference:
    """Read a request's body; ``header_length`` is what ``Inference-Header-Content-Length`` says, if it is there.

    Parameters
    ----------
    most_numeric_inputs
        How many inputs there may be of a model that takes numbers; of such a one nothing else is read that is long.

    Raises
    ------
    Refusal
        400: it is no inference request.
    """
    size = _json_size(header_length, len(content))
    request = _object(_parsed(content[:size], most_numeric_inputs), "The request")
    parameters = _parameters(request, "The request")
    behind = _Behind(memoryview(content)[size:], counted=header_length is not None)
    inputs = tuple(_tensor(one, behind) for one in _inputs(request))
    behind.require_empty()
    binary = _flag(parameters, "binary_data_output", default=False)
    return Inference(_id(request), inputs, _outputs(request, binary), binary)


def _bad(problem: str, next_step: str = STEP) -> Refusal:
    return Refusal("bad_request", problem, next_step=next_step)


def _json_size(header_length: str | None, n_bytes: int) -> int:
    if header_length is None:
        return n_bytes
    number = header_length.strip()
    if not (number.isascii() and number.isdigit() and len(number) < 19 and int(number) <= n_bytes):
        raise _bad(
            f"Inference-Header-Content-Length is {header_length[:40]!r}; the body has {n_bytes:,} bytes.",
            "Give there how many bytes the JSON at the beginning of the body has.",
        )
    return int(number)


def _parsed(content: bytes, most_numeric_inputs: int | None) -> object:
    try:
        return json.loads(content) if most_numeric_inputs is None else parsed(content, most_numeric_inputs)
    except (ValueError, RecursionError) as error:
        raise _no_json(
            "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        ) from None


def _no_json(reason: str) -> Refusal:
    return _bad(
        f"The request is not JSON: {reason}.",
        "With binary data behind the JSON, Inference-Header-Content-Length must tell where it begins.",
    )


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _bad(f"{what} is no JSON object.")
    return value


def _parameters(holder: dict[str, Any], what: str) -> dict[str, Any]:
    return _object(holder.get("parameters", {}), f'"parameters" of {what[0].lower() + what[1:]}')


def _inputs(request: dict[str, Any]) -> list[Any]:
    found = request.get("inputs")
    if not isinstance(found, list) or not found:
        raise _bad('"inputs" must be a list with at least one entry.')
    return found


def _text(holder: dict[str, Any], key: str, what: str) -> str:
    found = holder.get(key)
    if not isinstance(found, str):
        raise _bad(f'"{key}" of {what} must be a string.')
    return found


def _flag(parameters: dict[str, Any], key: str, *, default: bool) -> bool:
    found = parameters.get(key, default)
    if not isinstance(found, bool):
        raise _bad(f'The parameter "{key}" must be true or false.')
    return found


def _id(request: dict[str, Any]) -> str | None:
    return _text(request, "id", "the request") if "id" in request else None


def _outputs(request: dict[str, Any], binary: bool) -> tuple[Wanted, ...] | None:
    if "outputs" not in request:
        return None
    listed = request["outputs"]
    if not isinstance(listed, list):
        raise _bad('"outputs" must be a list.')
    wanted: dict[str, Wanted] = {}
    for one in (_wanted(value, binary) for value in listed):
        # What is asked for again and again is given once: a small request shall not ask for a huge response.
        wanted.setdefault(one.name, one)
    return tuple(wanted.values()) or None


def _wanted(value: object, binary: bool) -> Wanted:
    one = _object(value, "A requested output")
    name = _text(one, "name", "a requested output")
    parameters = _parameters(one, "A requested output")
    for extension in ("classification", "shared_memory_region"):
        # To leave these out without a word would give the client something else than it asked for.
        if extension in parameters:
            raise _bad(f"The output {name[:100]!r} asks for {extension!r}; this server does not have that.")
    return Wanted(name, _flag(parameters, "binary_data", default=binary))


def _tensor(value: object, behind: _Behind) -> Tensor:
    one = _object(value, "An input")
    name = _text(one, "name", "an input")
    what = f"the input {name[:100]!r}"
    datatype = _text(one, "datatype", what)
    if datatype not in KINDS:
        raise _bad(f"The datatype of {what} is {datatype[:40]!r}; expected one of {', '.join(KINDS)}.")
    shape = _shape(one.get("shape"), what)
    values: Values
    size = _parameters(one, what).get("binary_data_size")
    if (size is None) == ("data" not in one):
        raise _bad(
            f'{what[0].upper()}{what[1:]} must have either "data" or the parameter "binary_data_size".'
        )
    if size is None:
        values = _in_json(one["data"], shape, datatype, what)
    else:
        values = _unpacked(behind.take(size, what), datatype, what)
    _check_count(len(values), shape, what)
    return Tensor(name, datatype, shape, values)


def _shape(value: object, what: str) -> tuple[int, ...]:
    if not isinstance(value, list) or any(type(n) is not int or not 0 <= n < 2**64 for n in value):
        raise _bad(f'"shape" of {what} must be a list of whole numbers, 0 or more.')
    if not 1 <= len(value) <= MOST_DIMENSIONS:
        raise _bad(
            f"The shape of {what} has {len(value)} dimensions; expected 1 or 2, the first one the batch."
        )
    return tuple(value)


def _check_count(n_values: int, shape: tuple[int, ...], what: str) -> None:
    expected = shape[0] * shape[1] if len(shape) > 1 else shape[0]
    if n_values != expected:
        raise _bad(
            f"{what[0].upper()}{what[1:]} holds {n_values} values; its shape {list(shape)} has {expected}."
        )


def _in_json(data: object, shape: tuple[int, ...], datatype: str, what: str) -> Values:
    """Return the values of a tensor that stands in JSON, checked; an array where some stand in long lists."""
    rows = data if isinstance(data, list) else [data]
    if not any(isinstance(row, Run) for row in rows):
        return _values(_flat(data, shape, what), datatype, what)
    if datatype not in NUMERIC:
        raise _bad(f"Value 0 of {what} is a number; the datatype says {datatype}.")
    width = shape[-1] if isinstance(data, list) and len(shape) > 1 else None
    if isinstance(data, list) and width is None:
        raise _nested(shape, what)
    found = array("d")
    for row in rows:
        before = len(found)
        for numbers in _pieces(row, lambda: _nested(shape, what)):
            found.extend(_values(numbers, datatype, what, len(found)))
        if width is not None and len(found) - before != width:
            raise _nested(shape, what)
    return np.frombuffer(found)


def _pieces(row: object, wrong: Callable[[], Refusal]) -> Iterator[list[Any]]:
    if isinstance(row, list):
        yield row
    elif isinstance(row, Run):
        try:
            yield from row.pieces()
        except ValueError as error:
            raise _no_json(str(error)) from None
    else:
        raise wrong()


def _nested(shape: tuple[int, ...], what: str) -> Refusal:
    return _bad(f'"data" of {what} is nested otherwise than its shape {list(shape)} says.')


def _flat(data: object, shape: tuple[int, ...], what: str) -> list[Any]:
    """Return the values row by row; the protocol lets a client nest them or not."""
    if not isinstance(data, list):
        raise _bad(f'"data" of {what} must be a list.')
    if not any(isinstance(row, list) for row in data):
        return data
    width = shape[-1] if len(shape) > 1 else None
    if any(not isinstance(row, list) or len(row) != width for row in data):
        raise _nested(shape, what)
    return [value for row in data for value in row]


def _values(values: list[Any], datatype: str, what: str, first: int = 0) -> list[Any]:
    kinds = KINDS[datatype]
    if kinds == (int,):  # 1.0 is a whole number, too: it is one in JSON Schema, and some clients write it so
        values = [int(value) if type(value) is float and value.is_integer() else value for value in values]
    for index, value in enumerate(values, first):
        if type(value) not in kinds:
            raise _bad(f"Value {index} of {what} is {kind_of(value)}; the datatype says {datatype}.")
    if datatype in NUMERIC:
        low, high = bounds_of(datatype)
        if not all(low <= value <= high for value in values):
            raise _bad(f"A number of {what} does not fit into {datatype}: it goes from {low:g} to {high:g}.")
    return values


class _Behind:
    """The bytes behind the JSON, taken by one tensor after the other."""

    def __init__(self, rest: memoryview, *, counted: bool) -> None:
        self._rest = rest
        self._counted = counted

    def take(self, size: object, what: str) -> memoryview:
        """Return the next ``size`` bytes."""
        if type(size) is not int or size < 0:
            raise _bad(f'"binary_data_size" of {what} must be a whole number, 0 or more.')
        if not self._counted or size > len(self._rest):
            raise _bad(
                f"{what[0].upper()}{what[1:]} announces {size:,} bytes behind the JSON; {len(self._rest):,} are left.",
                "Send the header Inference-Header-Content-Length, and the tensors in the order of the inputs.",
            )
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def require_empty(self) -> None:
        """Refuse bytes that no tensor announced."""
        if self._rest:
            raise _bad(f"{len(self._rest):,} bytes are left behind the last input.")


def _unpacked(packed: memoryview, datatype: str, what: str) -> Values:
    if datatype == "BYTES":
        return _elements(packed, what)
    one = struct.Struct(f"<{CODES[datatype]}")
    if len(packed) % one.size:
        raise _bad(f"{what[0].upper()}{what[1:]} has {len(packed):,} bytes; a {datatype} has {one.size}.")
    return np.frombuffer(packed, f"<{CODES[datatype]}")


def _elements(packed: memoryview, what: str) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    while at < len(packed):
        start = at + LENGTH.size
        end = start + LENGTH.unpack_from(packed, at)[0] if start <= len(packed) else start
        if end > len(packed):
            raise _bad(
                f"Element {len(found)} of {what} reaches beyond the tensor's {len(packed):,} bytes.",
                "Each element is its length in 4 bytes, little endian, and then its bytes.",
            )
        found.append(bytes(packed[start:end]))
        at = end
    return found


def bounds_of(datatype: str) -> tuple[float, float]:
    """Return the smallest and the largest number of a datatype."""
    if datatype in LARGEST:
        return -LARGEST[datatype], LARGEST[datatype]
    n_bits = 8 * struct.calcsize(CODES[datatype])
    return (0, 2**n_bits - 1) if datatype.startswith("U") else (-(2 ** (n_bits - 1)), 2 ** (n_bits - 1) - 1)


# --- writing ------------------------------------------------------------------------------------------


def write_inference(
    said: Mapping[str, Json], outputs: Sequence[tuple[Tensor, bool]]
) -> tuple[bytes, int | None]:
    """Return a response's body, and the length of its JSON where tensors stand behind it as binary data.

    Parameters
    ----------
    said
        Everything but the outputs.
    outputs
        Each with whether it is to come as binary data. ``BYTES`` hold text.
    """
    packed = [_packed(tensor) if binary else None for tensor, binary in outputs]
    told: list[Json] = [_told(tensor, data) for (tensor, _), data in zip(outputs, packed, strict=True)]
    head = dumps({**said, "outputs": told})
    behind = [data for data in packed if data is not None]
    return b"".join([head, *behind]), len(head) if behind else None


def _told(tensor: Tensor, packed: bytes | None) -> dict[str, Json]:
    one: dict[str, Json] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
    if packed is None:
        return {**one, "data": list(tensor.values)}
    return {**one, "parameters": {"binary_data_size": len(packed)}}


def _packed(tensor: Tensor) -> bytes:
    if tensor.datatype != "BYTES":
        return struct.pack(f"<{len(tensor.values)}{CODES[tensor.datatype]}", *tensor.values)
    elements = [text.encode("utf-8", "replace") for text in tensor.values]
    return b"".join(LENGTH.pack(len(element)) + element for element in elements)
