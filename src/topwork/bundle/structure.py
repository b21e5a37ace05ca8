"""Between frozen dataclasses and JSON values, strictly in both directions.

It knows nothing of bundles. The library underneath would rather convert than complain (``int("5")``,
``tuple("abc")``); here a wrong type is an error that says where it stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from operator import index
from typing import Any, TypeAlias, TypeVar, get_args, get_origin

import cattrs
from cattrs.strategies import configure_tagged_union

from topwork.contracts import Estimate, Section
from topwork.errors import BundleError

__all__ = ["from_json", "to_json"]

_origin: Callable[[Any], Any] = get_origin

T = TypeVar("T")
Reader: TypeAlias = Callable[[Any, Any], Any]
Cell: TypeAlias = str | Estimate

_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_SHOWN_PROBLEMS = 3


def to_json(value: object) -> Any:
    """Turn a frozen dataclass into JSON values.

    Numbers that JSON lacks are written as the strings ``nan``, ``inf`` and ``-inf``; the members of the
    union of report sections carry their ``kind``.
    """
    return _converter().unstructure(value)


def from_json(value: Any, kind: type[T], part: str) -> T:
    """Read back what `to_json` wrote.

    Raises
    ------
    BundleError
        A key is missing or unknown, or a value has another type; the message names ``part`` and the place.
    """
    try:
        return _converter().structure(value, kind)
    except Exception as error:
        raise BundleError(f"{part} does not hold what it should: {_places(error, part)}.") from error


def _places(error: Exception, part: str) -> str:
    problems = cattrs.transform_error(error, path=part, format_exception=_say)
    hidden = len(problems) - _SHOWN_PROBLEMS
    return "; ".join(problems[:_SHOWN_PROBLEMS]) + (f"; and {hidden} more" if hidden > 0 else "")


def _say(error: BaseException, _: type | None) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing or not known"
    if isinstance(error, AttributeError):  # What the library meets where it takes a mapping for granted.
        return "expected an object"
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        return "unknown keys " + ", ".join(sorted(map(repr, error.extra_fields)))
    return str(error)


@cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    _register_scalars(converter)
    _register_collections(converter)
    converter.register_structure_hook(Cell, lambda value, _: _read_cell(converter, value))
    converter.register_unstructure_hook(Cell, lambda value: _write_cell(converter, value))
    configure_tagged_union(Section, converter, tag_generator=_tag, tag_name="kind")
    return converter


def _register_scalars(converter: cattrs.Converter) -> None:
    converter.register_structure_hook(int, lambda value, _: _int(value))
    converter.register_structure_hook(float, lambda value, _: _float(value))
    converter.register_structure_hook(str, lambda value, _: _str(value))
    converter.register_structure_hook(bool, lambda value, _: _bool(value))
    # Measured values arrive as NumPy scalars now and then, which the JSON module does not take.
    converter.register_unstructure_hook(int, index)
    converter.register_unstructure_hook(bool, bool)
    converter.register_unstructure_hook(float, _plain_float)


def _register_collections(converter: cattrs.Converter) -> None:
    converter.register_structure_hook_factory(
        lambda kind: _origin(kind) in (tuple, frozenset), lambda kind: _list_reader(converter, kind)
    )
    converter.register_structure_hook_factory(
        lambda kind: _origin(kind) is Mapping, lambda kind: _mapping_reader(converter, kind)
    )
    # A tuple would stay one and a set has no order: sorted, the same set gives the same bytes.
    converter.register_unstructure_hook_func(lambda kind: _origin(kind) is frozenset, sorted)


def _list_reader(converter: cattrs.Converter, kind: Any) -> Reader:
    item, collection = get_args(kind)[0], get_origin(kind)
    as_list = list[item]  # type: ignore[valid-type]
    read = converter.get_structure_hook(as_list)
    return lambda value, _: collection(read(_expect(list, "a list", value), as_list))


def _mapping_reader(converter: cattrs.Converter, kind: Any) -> Reader:
    key, item = get_args(kind)
    if item is Any:
        return lambda value, _: _expect(dict, "an object", value)
    as_dict = dict[key, item]  # type: ignore[valid-type]
    read = converter.get_structure_hook(as_dict)
    return lambda value, _: read(_expect(dict, "an object", value), as_dict)


def _tag(kind: type) -> str:
    return kind.__name__.lower()


def _read_cell(converter: cattrs.Converter, value: Any) -> str | Estimate:
    return value if isinstance(value, str) else converter.structure(value, Estimate)


def _write_cell(converter: cattrs.Converter, value: str | Estimate) -> Any:
    return value if isinstance(value, str) else converter.unstructure(value)


def _plain_float(value: float) -> float | str:
    plain = float(value)
    return plain if math.isfinite(plain) else str(plain)


def _expect(kind: type, words: str, value: Any) -> Any:
    if not isinstance(value, kind):
        raise _wrong(words, value)
    return value


def _int(value: Any) -> int:
    if type(value) is not int:
        raise _wrong("a whole number", value)
    return value


def _float(value: Any) -> float:
    if isinstance(value, str) and value in _SPECIAL:
        return _SPECIAL[value]
    if type(value) not in (int, float):
        raise _wrong("a number", value)
    return float(value)


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong("a text", value)
    return value


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong("true or false", value)
    return value


def _wrong(expected: str, got: Any) -> TypeError:
    shown = repr(got)
    return TypeError(f"expected {expected}, got {shown if len(shown) <= 60 else shown[:60] + '…'}")
