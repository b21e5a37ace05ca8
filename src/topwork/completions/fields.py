"""A request's body field by field: what each must be, and what is said where it is something else.

It knows no field by name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from topwork.serving.http.bodies import kind_of
from topwork.serving.http.refusals import Refusal

__all__ = ["Fields", "Wrong", "count", "one_of", "real", "switch", "text", "texts"]

T = TypeVar("T")


class Wrong(Refusal):
    """A request that is refused for one of its fields, ``param``."""

    def __init__(self, param: str | None, problem: str, next_step: str = "") -> None:
        super().__init__("bad_request", problem, next_step=next_step)
        self.param = param


class Fields:
    """The fields of a body, each of which is taken once.

    Raises
    ------
    Wrong
        The body is no JSON object.
    """

    def __init__(self, content: bytes) -> None:
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            raise Wrong(None, "The request body is not JSON.", "Send a JSON object in UTF-8.") from None
        if not isinstance(found, dict):
            raise Wrong(None, f"The request body is {kind_of(found)}; expected an object.")
        self._left: dict[str, Any] = found

    def take(self, name: str, read: Callable[[str, Any], T], default: T) -> T:
        """Return a field; ``default`` where it is not there, or null.

        Raises
        ------
        Wrong
            It is not what ``read`` expects.
        """
        value = self._left.pop(name, None)
        return default if value is None else read(name, value)

    def need(self, name: str, read: Callable[[str, Any], T]) -> T:
        """Return a field that must be there.

        Raises
        ------
        Wrong
            It is not, or is something else.
        """
        value = self._left.pop(name, None)
        if value is None:
            raise Wrong(name, f"{name} is missing.", "See /docs.")
        return read(name, value)

    def ignore(self, names: Collection[str]) -> None:
        """Take fields that change nothing here."""
        for name in names:
            self._left.pop(name, None)

    def refuse(self, name: str, why: str, *, but: Sequence[Any] = ()) -> None:
        """Take a field that cannot be granted, save where it is null, or one of ``but``.

        Raises
        ------
        Wrong
            It is something else.
        """
        value = self._left.pop(name, None)
        if value is not None and value not in but:
            raise Wrong(name, f"{name} is given; {why}", f"Leave {name} out.")

    def end(self) -> None:
        """Find out whether anything is left.

        Raises
        ------
        Wrong
            There is a field that nobody knows.
        """
        for name in self._left:
            raise Wrong(
                name[:100],
                f"There is no field {name[:100]!r} here.",
                "Leave it out; see /docs for those there are.",
            )


def count(low: int, high: int) -> Callable[[str, Any], int]:
    """Return what reads a whole number between two bounds, both included."""

    def read(name: str, value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise Wrong(name, f"{name} is {_shown(value)}; expected a whole number from {low} to {high}.")
        return int(value)

    return read


def real(low: float, high: float) -> Callable[[str, Any], float]:
    """Return what reads a number between two bounds, both included."""

    def read(name: str, value: Any) -> float:
        if type(value) not in (int, float) or not (math.isfinite(value) and low <= value <= high):
            raise Wrong(name, f"{name} is {_shown(value)}; expected a number from {low:g} to {high:g}.")
        return float(value)

    return read


def switch(name: str, value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise Wrong(name, f"{name} is {_shown(value)}; expected true or false.")
    return value


def text(name: str, value: Any) -> str:
    """Read a text."""
    if not isinstance(value, str):
        raise Wrong(name, f"{name} is {kind_of(value)}; expected a string.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise Wrong(name, f"{name} holds half of a surrogate pair, which is no text.") from None
    return value


def texts(most: int) -> Callable[[str, Any], tuple[str, ...]]:
    """Return what reads a text, or a list of texts."""

    def read(name: str, value: Any) -> tuple[str, ...]:
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or len(found) > most:
            raise Wrong(name, f"{name} is {kind_of(value)}; expected a string, or a list of at most {most}.")
        return tuple(text(f"{name}[{place}]", one) for place, one in enumerate(found))

    return read


def one_of(*words: str) -> Callable[[str, Any], str]:
    """Return what reads one of a few words."""

    def read(name: str, value: Any) -> str:
        if value not in words:
            raise Wrong(name, f"{name} is {_shown(value)}; expected {' or '.join(words)}.")
        return str(value)

    return read


def _shown(value: Any) -> str:
    return (
        str(value)[:40] if isinstance(value, int | float) and not isinstance(value, bool) else kind_of(value)
    )
