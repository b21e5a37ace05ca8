"""Whether a JSON value is as a JSON Schema says, by the words of the language that describe most answers.

These are ``type``, ``enum``, ``const``, ``properties``, ``required``, ``additionalProperties``, ``items``,
``minItems``, ``maxItems``, ``minimum``, ``maximum``, ``anyOf`` and ``oneOf`` (of which one must fit, no more is
counted); a word that is none of them holds for any value. It knows no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

__all__ = ["misfit"]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


KINDS: Final[Mapping[str, Callable[[Any], bool]]] = MappingProxyType(
    {
        "object": lambda value: isinstance(value, dict),
        "array": lambda value: isinstance(value, list),
        "string": lambda value: isinstance(value, str),
        "number": _is_number,
        "integer": lambda value: _is_number(value) and value == int(value),
        "boolean": lambda value: isinstance(value, bool),
        "null": lambda value: value is None,
    }
)


def misfit(value: Any, schema: Any, where: str = "the answer") -> str | None:
    """Return in what a value of plain dicts and lists differs from its schema first; None where it fits."""
    if not isinstance(schema, Mapping):
        return None if schema is not False else f"{where} must not be there"
    return next(_misfits(value, schema, where), None)


def _misfits(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    kinds = schema.get("type", ())
    named = [kinds] if isinstance(kinds, str) else list(kinds)
    if named and not any(KINDS[kind](value) for kind in named if kind in KINDS):
        yield f"{where} is {type(value).__name__}; expected {' or '.join(named)}"
    allowed = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else [])]
    if allowed and not any(one == value and type(one) is type(value) for one in allowed):
        yield f"{where} is {str(value)[:80]!r}; expected one of {str(allowed)[:80]}"
    for word in ("anyOf", "oneOf"):
        if word in schema and all(misfit(value, one, where) for one in schema[word]):
            yield f"{where} fits none of {len(schema[word])} schemas"
    if _is_number(value) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{where} is {value}, which is out of range"
    if isinstance(value, dict):
        yield from _in_object(value, schema, where)
    if isinstance(value, list):
        yield from _in_array(value, schema, where)


def _in_object(value: dict[str, Any], schema: Mapping[str, Any], where: str) -> Iterator[str]:
    known = schema.get("properties", {})
    for key in schema.get("required", ()):
        if key not in value:
            yield f"{where} has no {key!r}"
    for key, one in value.items():
        inner = known.get(key, schema.get("additionalProperties", True))
        if (found := misfit(one, inner, f"{where}.{key}")) is not None:
            yield found


def _in_array(value: list[Any], schema: Mapping[str, Any], where: str) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{where} has {len(value)} items"
    for number, one in enumerate(value):
        if (found := misfit(one, schema.get("items", True), f"{where}[{number}]")) is not None:
            yield found
