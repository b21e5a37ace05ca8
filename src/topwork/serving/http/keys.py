"""API keys: what a key is, how one is made, and how the right one is told from a wrong one.

It knows no file, no request and no clock. A key is 256 random bits, so a plain SHA-256 of it can be kept: there is no
dictionary to try, and a slow hash would only make each request slow.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

__all__ = ["SCOPES", "Key", "KeyScope", "digest_of", "is_right", "new_key", "prefix_of"]

KeyScope: TypeAlias = Literal["predict", "admin", "metrics"]
SCOPES: Final[tuple[KeyScope, ...]] = ("predict", "admin", "metrics")

LONGEST = 128
"""Characters of what was sent that are looked at; a key has 80."""
_KEY = re.compile(r"(tw_[0-9a-f]{12})_[0-9a-f]{64}")
_NOBODYS = "0" * 64
_PREFIX_BYTES, _SECRET_BYTES = 6, 32


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key.

    Attributes
    ----------
    prefix
        Its first 15 characters, which are no secret: it is found, listed and revoked by them.
    name
        Whose it is, in the operator's words.
    digest
        SHA-256 of the whole key, in hexadecimal.
    scopes
        What it is good for; none includes another.
    created, expires
        With a time zone; without ``expires`` it is good until it is revoked.
    per_minute
        Requests in a minute; None for no limit.
    """

    prefix: str
    name: str
    digest: str
    scopes: tuple[KeyScope, ...]
    created: datetime
    expires: datetime | None = None
    per_minute: int | None = None

    def expired(self, now: datetime) -> bool:
        """Tell whether its time is over."""
        return self.expires is not None and now >= self.expires


def new_key(
    name: str,
    scopes: tuple[KeyScope, ...],
    *,
    created: datetime,
    expires: datetime | None = None,
    per_minute: int | None = None,
    random_hex: Callable[[int], str] = secrets.token_hex,
) -> tuple[str, Key]:
    """Make a key; return what its owner sends, which is kept nowhere, and what is kept of it."""
    prefix = f"tw_{random_hex(_PREFIX_BYTES)}"
    text = f"{prefix}_{random_hex(_SECRET_BYTES)}"
    return text, Key(prefix, name, digest_of(text), scopes, created, expires, per_minute)


def digest_of(text: str) -> str:
    """Return what is kept of a key in place of it."""
    return hashlib.sha256(text[:LONGEST].encode("utf-8", "replace")).hexdigest()


def prefix_of(text: str) -> str | None:
    """Return the public prefix of what looks like a key, or None."""
    found = _KEY.fullmatch(text[:LONGEST])
    return found[1] if found else None


def is_right(text: str, key: Key | None) -> bool:
    """Tell whether ``text`` is ``key``; without one, do the same work in vain, so that time tells nothing."""
    same = hmac.compare_digest(digest_of(text), key.digest if key is not None else _NOBODYS)
    return same and key is not None
