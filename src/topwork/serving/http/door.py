"""Who may come in: a request's key, what it is good for, and how often.

It knows no path and reads no body: it is asked with the headers alone. 401 says that a key is missing or not good, 403
that it is not good for this, 429 that it comes too often.

Wrong keys are counted by the client's address, and beyond a limit get a 429 in place of the 401; right ones are let in
all the same. So nobody who shares an address with an attacker, as all clients behind one proxy do, is locked out; and
256 random bits are found by no number of attempts.
"""

from __future__ import annotations

import logging
import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from topwork.errors import TopworkError
from topwork.serving.http.addresses import client_of
from topwork.serving.http.hosts import Hosts
from topwork.serving.http.keys import is_right, prefix_of
from topwork.serving.http.rates import Buckets
from topwork.serving.http.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Set

    from topwork.serving.http.keyring import Keyring
    from topwork.serving.http.keys import Key
    from topwork.serving.http.messages import Request
    from topwork.serving.http.routes import Scope

__all__ = ["Door"]

LOG = logging.getLogger("topwork.serving")
CHALLENGE = 'Bearer realm="topwork"'
SUFFICIENT: Final[Mapping[Scope, Set[str]]] = {"own": {"predict", "admin"}}
"""Scopes of which one is enough, where not just the one that is asked for will do."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Door:
    """Lets requests in by their keys, or all of them.

    Parameters
    ----------
    keyring
        The keys; None asks for none, and lets nobody make an admin call.
    local_only
        A server with this door may only listen where nobody but this machine can reach it.
    hosts
        Names under which the server may be asked; where only this machine can reach it those of this machine for
        itself, elsewhere any.
    wrong_per_minute
        Wrong keys from one address before they are no longer told to be wrong.
    clock, now
        Seconds that only grow, and the time of the day with its zone.
    """

    def __init__(
        self,
        keyring: Keyring | None,
        *,
        local_only: bool = False,
        hosts: Hosts | None = None,
        wrong_per_minute: int = 30,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.keyring = keyring
        self.local_only = local_only and keyring is None
        self._hosts = hosts or (Hosts() if self.local_only else Hosts(["*"]))
        self._wrong_per_minute = wrong_per_minute
        self._now = now
        self._uses = Buckets(clock)
        self._wrong = Buckets(clock)

    def require_host(self, request: Request) -> None:
        """Refuse a request that came by a name that is not the server's.

        Raises
        ------
        Refusal
            421.
        """
        self._hosts.require(request)

    def admit(self, request: Request, scope: Scope) -> Key | None:
        """Return the key of a request that may come in; None where no key is asked for.

        Raises
        ------
        Refusal
            401, 403 or 429, or 503 where the keys cannot be read.
        """
        if scope == "open":
            return None
        if self.keyring is None:
            if scope == "admin":
                raise _no_admin()
            if scope == "own" and not self.local_only:
                raise _nobodys()
            return None
        key = self._right_key(request, _keys_of(self.keyring))
        if key.per_minute is not None and (wait_s := self._uses.take(key.prefix, key.per_minute)):
            raise _too_often(f"This key is good for {key.per_minute} requests in a minute.", wait_s)
        if not SUFFICIENT.get(scope, {scope}) & {*key.scopes}:
            raise _not_for(key, scope)
        return key

    def _right_key(self, request: Request, keys: Mapping[str, Key]) -> Key:
        sent = _sent(request.headers)
        if sent is None:
            raise _unauthorized("This server asks for a key; the request has none.", CHALLENGE)
        key = keys.get(prefix_of(sent) or "")
        if not is_right(sent, key) or key is None:
            raise self._refused(request.client, "This key is not known here.")
        if key.expired(self._now()):
            raise self._refused(request.client, f"The key {key.prefix} has expired.")
        return key

    def _refused(self, client: str, problem: str) -> Refusal:
        if wait_s := self._wrong.take(client_of(client), self._wrong_per_minute):
            return _too_often(
                f"More than {self._wrong_per_minute} wrong keys in a minute came from this address.", wait_s
            )
        LOG.warning("a request from %s was refused: %s", client or "an unknown address", problem)
        return _unauthorized(problem, f'{CHALLENGE}, error="invalid_token"')


def _keys_of(keyring: Keyring) -> Mapping[str, Key]:
    try:
        return keyring.keys()
    except TopworkError as error:
        LOG.error("the keys cannot be read: %s", error)  # noqa: TRY400 - the text says all there is
        raise Refusal(
            "unavailable",
            "The keys of this server cannot be read now.",
            next_step="Tell the operator of this server; the reason is in its log.",
        ) from None


def _sent(headers: Mapping[str, str]) -> str | None:
    """Return the key of a request; ``X-API-Key`` first, since a proxy may need the other header for itself."""
    if "x-api-key" in headers:
        return headers["x-api-key"].strip()
    kind, _, rest = headers.get("authorization", "").strip().partition(" ")
    return rest.strip() if kind.lower() == "bearer" else None


# --- what is said -------------------------------------------------------------------------------------


def _unauthorized(problem: str, challenge: str) -> Refusal:
    return Refusal(
        "unauthorized",
        problem,
        next_step="Send one with the header `Authorization: Bearer KEY` or `X-API-Key: KEY`; "
        "the operator of this server makes them with `topwork keys create`.",
        headers={"www-authenticate": challenge},
    )


def _not_for(key: Key, wanted: Scope) -> Refusal:
    scope = "predict" if wanted == "own" else wanted
    return Refusal(
        "forbidden",
        f"The key {key.prefix} is good for {' and '.join(key.scopes)}, not for {scope}.",
        next_step=f"Use a key with the scope {scope}.",
        headers={"www-authenticate": f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'},
    )


def _no_admin() -> Refusal:
    return Refusal(
        "forbidden",
        "This server asks for no keys, and so it takes no admin calls.",
        next_step="Start it with --keys, and use a key with the scope admin.",
    )


def _nobodys() -> Refusal:
    return Refusal(
        "forbidden",
        "This server asks for no keys, so nobody can be told what is theirs alone.",
        next_step="Ask for one job by its id; or start the server with --keys.",
    )


def _too_often(problem: str, wait_s: float) -> Refusal:
    retry_after_s = max(1, math.ceil(wait_s))
    return Refusal(
        "rate_limited",
        problem,
        next_step=f"Try again in {retry_after_s} s.",
        headers={"retry-after": str(retry_after_s)},
    )
