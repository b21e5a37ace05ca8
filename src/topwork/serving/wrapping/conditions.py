"""Conditions on an answer, written as JSON: whether one holds, and whether it ever can.

It knows no model. A condition is a part of an answer: ``{"label": "plate"}`` holds for every answer with that label.

- an object holds where each of its keys is in the answer, and what stands there holds;
- a list holds where one of its members does;
- ``{"at_least": x}``, ``{"below": y}`` or both hold for a number;
- anything else must be the same; in a list of labels it must be among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from topwork.errors import UsageError

if TYPE_CHECKING:
    from topwork.contracts import Json

__all__ = ["holds", "require_possible"]

COMPARISONS = frozenset({"at_least", "below"})


def holds(wanted: Json, found: Json) -> bool:
    """Tell whether an answer, or a part of one, is as it is wanted."""
    if isinstance(wanted, Mapping):
        if _is_comparison(wanted):
            return _is_number(found) and _is_between(found, wanted)
        return isinstance(found, Mapping) and all(
            key in found and holds(one, found[key]) for key, one in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        return any(holds(one, found) for one in wanted)
    if isinstance(found, list | tuple):
        return any(_same(wanted, one) for one in found)
    return _same(wanted, found)


def require_possible(wanted: Json, schema: Mapping[str, Any], *, where: str) -> None:
    """Refuse a condition that no answer of this schema meets, as far as the schema tells.

    Parameters
    ----------
    where
        What the condition is on, for the message.

    Raises
    ------
    UsageError
        It asks for a key or a value that answers never have, or compares with what is no number.
    """
    if _is_comparison(wanted):
        _require_numbers(wanted, where)
    elif isinstance(wanted, Mapping):
        for key, one in wanted.items():
            require_possible(one, _of_key(key, schema, where), where=f"{where}.{key}")
    elif isinstance(wanted, list | tuple):
        for one in wanted:
            require_possible(one, schema, where=where)
    else:
        allowed = schema.get("enum", schema.get("items", {}).get("enum"))
        if allowed is not None and not any(_same(wanted, one) for one in allowed):
            raise _never(f"{where} is never {wanted!r}", allowed)


def _of_key(key: str, schema: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Return the schema of what stands under a key; an empty one where nothing is known of it.

    A schema that lists properties is taken for all there is, unless it says otherwise: more likely is a typing error.
    """
    known: Mapping[str, Any] = schema.get("properties", {})
    if key in known:
        return dict(known[key])
    others = schema.get("additionalProperties", not known)
    if others is False:
        raise _never(f"{where} has no {key!r}", known)
    return others if isinstance(others, Mapping) else {}


def _require_numbers(wanted: Any, where: str) -> None:
    for word, bound in wanted.items():
        if not _is_number(bound):
            raise UsageError(f"The condition on {where} compares with {bound!r} ({word}); expected a number.")


def _never(what: str, known: Any) -> UsageError:
    there = ", ".join(repr(one) for one in list(known)[:20])
    return UsageError(
        f"The condition can never hold: {what}; there is {there or 'nothing'}.",
        next_step="Write it as it stands in the model's answers; in YAML words such as yes and no need quotes.",
    )


def _is_comparison(wanted: Json) -> bool:
    return isinstance(wanted, Mapping) and bool(wanted) and set(wanted) <= COMPARISONS


def _is_between(found: Any, bounds: Mapping[str, Any]) -> bool:
    return bool(bounds.get("at_least", found) <= found < bounds.get("below", float("inf")))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(wanted: Json, found: Json) -> bool:
    # To Python True is 1; in JSON they are different things.
    return isinstance(wanted, bool) == isinstance(found, bool) and wanted == found
