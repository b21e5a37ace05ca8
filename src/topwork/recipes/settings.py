"""What a recipe's settings may be: one that is out of its range is refused by name. It knows no recipe."""

from __future__ import annotations

from collections.abc import Mapping

from topwork.errors import UsageError

__all__ = ["require"]


def require(settings: object, allowed: Mapping[str, tuple[bool, str]]) -> None:
    """Hold settings against what is allowed: by the name of each whether it is right, and what is expected of it.

    Raises
    ------
    UsageError
        One is not right.
    """
    for name, (is_right, expected) in allowed.items():
        if not is_right:
            raise UsageError(f"The setting {name} is {getattr(settings, name)!r}; expected {expected}.")
