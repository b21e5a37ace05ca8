"""Doors with keys, for the tests of what stands behind one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from topwork.serving.http.door import Door
from topwork.serving.http.keyring import Keyring, Wish, create

__all__ = ["NOON", "Clock", "keyed_door", "made"]

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def made(path: Path, name: str, *scopes: Any, **rest: Any) -> str:
    """Make a key at noon and return it."""
    text, _ = create(path, Wish(name, scopes or ("predict",), **rest), now=NOON)
    return text


def keyed_door(path: Path, **rest: Any) -> Door:
    """Return a door that asks for the keys of a file; it is noon."""
    return Door(Keyring(path), **{"now": lambda: NOON, **rest})
