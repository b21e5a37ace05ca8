"""What a caller chose of a recipe's own settings, held against the recipe: a name that it does not know is refused.

A recipe's settings are one frozen dataclass of flat fields (numbers, words, truth values, lists of whole numbers). It
knows no recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from types import UnionType
from typing import Any, TypeAlias, TypeVar, cast, get_args, get_origin, get_type_hints

from topwork.contracts import Recipe
from topwork.errors import UsageError

__all__ = ["Value", "settings_with", "with_settings"]

T = TypeVar("T")

Value: TypeAlias = str | int | float | bool | tuple[int, ...] | None
_TRUTH = {"true": True, "yes": True, "false": False, "no": False}


def with_settings(recipe: Recipe, given: Mapping[str, Value]) -> Recipe:
    """Return the recipe with these settings in place of its own; words are read as what the setting is.

    Raises
    ------
    UsageError
        The recipe has no such setting, or the value is not of its kind.
    """
    if not given:
        return recipe
    settings = settings_with(recipe.name, getattr(recipe, "settings", None), given)
    return cast("Recipe", replace(cast("Any", recipe), settings=settings))


def settings_with(recipe: str, settings: T, given: Mapping[str, Value]) -> T:
    """Return the settings of a recipe of this name with these in place of its own.

    Raises
    ------
    UsageError
        There is no such setting, or the value is not of its kind.
    """
    own: Any = settings
    known = [one.name for one in fields(own)] if is_dataclass(own) else []
    if unknown := [name for name in given if name not in known]:
        raise UsageError(
            f"The recipe {recipe} has no setting {unknown[0]!r}; it has {', '.join(known) or 'none'}.",
            next_step="Give one of those, or another recipe.",
        )
    kinds = get_type_hints(type(own))
    return cast("T", replace(own, **{name: _read(name, kinds[name], value) for name, value in given.items()}))


def _read(name: str, kind: Any, value: Value) -> Value:
    """Read a value as one of a kind; what is no word must be of the kind already.

    Raises
    ------
    UsageError
        It is not.
    """
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if (value is None or value == "none") and type(None) in kinds:
        return None
    own = next(one for one in kinds if one is not type(None))
    try:
        return _convert(own, value)
    except (ValueError, KeyError) as error:
        raise UsageError(f"The setting {name} is {value!r}; expected {_described(own)}.") from error


def _convert(kind: Any, value: Value) -> Value:
    if get_origin(kind) is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            raise ValueError("no list")
        return tuple(int(one) for one in parts if one != "none")
    if kind is bool:
        return _TRUTH[str(value).lower()]
    if isinstance(value, tuple | None) or (kind is int and isinstance(value, float)):
        raise ValueError("of another kind")
    return cast("Value", kind(value))


def _described(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return "whole numbers with commas between them, such as 512,256, or none"
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "a word")
