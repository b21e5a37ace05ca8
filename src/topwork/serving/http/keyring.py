"""The file of API keys: read, changed one process at a time, and watched by a server.

It knows no request. The file is JSON, is its owner's alone, and holds no key but their hashes. It appears whole or not
at all, so a server that reads it again whenever it has changed never sees half of one.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from topwork.errors import UsageError
from topwork.serving.http.keys import SCOPES, Key, new_key
from topwork.storage import explain, locked, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from topwork.serving.http.keys import KeyScope

__all__ = ["Keyring", "Wish", "create", "read_keys", "revoke"]

FORMAT = "topwork-keys"
VERSION = 1
LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Wish:
    """What a new key shall be: as of `Key`."""

    name: str
    scopes: tuple[KeyScope, ...] = ("predict",)
    expires: datetime | None = None
    per_minute: int | None = None


def read_keys(path: Path) -> dict[str, Key]:
    """Return the keys of a file by their prefixes, in the order of their making.

    Raises
    ------
    StorageError
        It cannot be read.
    UsageError
        It is no file of keys.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise explain(error, path, doing="read") from error
    try:
        return {key.prefix: key for key in _decode(content)}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{path} is no file of API keys that this version can read: {str(error)[:200] or type(error).__name__}.",
            next_step="Make a new one with `topwork keys create`; the old keys are then no longer good.",
        ) from None


def create(path: Path, wish: Wish, *, now: datetime) -> tuple[str, Key]:
    """Make a key and add what is kept of it to a file; return the key, which nobody can read again, and what is kept.

    Raises
    ------
    UsageError
        The name is taken or is none, no scope is given, or the key would never be good.
    StorageError
        The file cannot be written.
    """
    _require_sound(wish, now)
    with locked(path):
        keys = read_keys(path) if path.exists() else {}
        if any(key.name == wish.name for key in keys.values()):
            raise UsageError(
                f"There is a key called {wish.name!r} already.",
                next_step="Choose another name, or revoke that one first.",
            )
        text, key = _unlike(keys, wish, now)
        _write(path, {**keys, key.prefix: key})
    return text, key


def revoke(path: Path, which: str) -> Key:
    """Take the key of a name or a prefix out of a file; return what was kept of it.

    Raises
    ------
    UsageError
        There is none.
    StorageError
        The file cannot be read or written.
    """
    with locked(path):
        keys = read_keys(path)
        found = [key for key in keys.values() if which in (key.name, key.prefix)]
        if not found:
            names = ", ".join(repr(key.name) for key in list(keys.values())[:20]) or "none"
            raise UsageError(f"There is no key {which!r} in {path}.", next_step=f"Keys there: {names}.")
        # A name may be made to look like another key's prefix; the prefix is meant then.
        gone = next((key for key in found if key.prefix == which), found[0])
        _write(path, {prefix: key for prefix, key in keys.items() if key is not gone})
    return gone


class Keyring:
    """The keys of a file, read again whenever it has changed, so that a revoked key ends at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int, int] | None = None
        self._keys: dict[str, Key] = {}

    def keys(self) -> Mapping[str, Key]:
        """Return the keys by their prefixes.

        Raises
        ------
        StorageError, UsageError
            The file cannot be read any more. Keys that were read before are not good then: nobody knows whether they
            were revoked.
        """
        stamp = self._found()
        if stamp != self._stamp:
            self._stamp = None
            self._keys = read_keys(self.path)
            self._stamp = stamp
        return self._keys

    def _found(self) -> tuple[int, int, int]:
        try:
            found = self.path.stat()
        except OSError as error:
            raise explain(error, self.path, doing="read") from error
        return found.st_ino, found.st_mtime_ns, found.st_size


def _require_sound(wish: Wish, now: datetime) -> None:
    if not wish.name.strip() or len(wish.name) > LONGEST_NAME or not wish.name.isprintable():
        raise UsageError(
            f"A key cannot be called {wish.name[:LONGEST_NAME]!r}; expected 1 to {LONGEST_NAME} characters to read.",
            next_step="Call it after who uses it.",
        )
    if not wish.scopes or not set(wish.scopes) <= set(SCOPES):
        raise UsageError(
            f"A key cannot have the scopes {list(wish.scopes)}.",
            next_step=f"Give some of {', '.join(SCOPES)}.",
        )
    if wish.expires is not None and wish.expires <= now:
        raise UsageError(
            f"The key would expire at {wish.expires.isoformat()}, which is over.",
            next_step="Give a later time.",
        )
    if wish.per_minute is not None and wish.per_minute < 1:
        raise UsageError(
            f"{wish.per_minute} requests in a minute would be none.",
            next_step="Leave the limit out for none, or give 1 or more.",
        )


def _unlike(keys: Mapping[str, Key], wish: Wish, now: datetime) -> tuple[str, Key]:
    while True:
        text, key = new_key(
            wish.name, wish.scopes, created=now, expires=wish.expires, per_minute=wish.per_minute
        )
        if key.prefix not in keys:
            return text, key


# --- the file -----------------------------------------------------------------------------------------


def _write(path: Path, keys: Mapping[str, Key]) -> None:
    content = {"format": FORMAT, "version": VERSION, "keys": [_entry(key) for key in keys.values()]}
    write_atomically(path, json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n", private=True)


def _entry(key: Key) -> dict[str, Any]:
    return {
        "prefix": key.prefix,
        "name": key.name,
        "digest": key.digest,
        "scopes": list(key.scopes),
        "created": key.created.isoformat(),
        "expires": key.expires.isoformat() if key.expires else None,
        "per_minute": key.per_minute,
    }


def _decode(content: bytes) -> list[Key]:
    value = json.loads(content)
    if set(value) != {"format", "version", "keys"} or (value["format"], value["version"]) != (
        FORMAT,
        VERSION,
    ):
        raise ValueError(f"expected the format {FORMAT!r}, version {VERSION}")
    return [_key(entry) for entry in value["keys"]]


def _key(entry: Mapping[str, Any]) -> Key:
    if unlike := set(entry) ^ {field.name for field in fields(Key)}:
        raise ValueError(f"a key has too few or too many of {sorted(unlike)}")
    scopes, per_minute = tuple(entry["scopes"]), entry["per_minute"]
    if not set(scopes) <= set(SCOPES):
        raise ValueError(f"a key has the unknown scopes {sorted(set(scopes) - set(SCOPES))}")
    if per_minute is not None and (type(per_minute) is not int or per_minute < 1):
        raise ValueError(f"a key has the limit {per_minute!r}")
    if not re.fullmatch("[0-9a-f]{64}", entry["digest"]):
        raise ValueError("a digest is no SHA-256 in hexadecimal")
    expires = None if entry["expires"] is None else _time(entry["expires"])
    return Key(
        str(entry["prefix"]),
        str(entry["name"]),
        entry["digest"],
        scopes,
        _time(entry["created"]),
        expires,
        per_minute,
    )


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"the time {text} has no time zone")
    return found
