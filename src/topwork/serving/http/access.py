"""The operator's choice of who may ask: a file of keys, none, pages of other origins, and under which names.

It knows no request. Keys are off only where this machine alone can reach the server, or where the operator says so.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from topwork.errors import UsageError
from topwork.serving.http.addresses import is_own
from topwork.serving.http.door import Door
from topwork.serving.http.hosts import Hosts
from topwork.serving.http.keyring import Keyring
from topwork.storage import keys_file

if TYPE_CHECKING:
    from topwork.serving.limits import Limits

__all__ = ["Access", "hosts_for", "is_loopback", "keys_for", "open_door", "require_safe"]


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask a server.

    Attributes
    ----------
    keys
        File of API keys, as `topwork keys create` writes it. By default none is asked for on this machine alone, and
        the user's own file is taken elsewhere.
    no_keys
        Ask for no keys, wherever the server can be reached from.
    origins
        Pages of other origins that browsers may let ask, as of `Origins`.
    hosts
        Names under which the server may be asked besides those of this machine for itself, as of `Hosts`.
    """

    keys: Path | None = None
    no_keys: bool = False
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


def keys_for(access: Access, host: str) -> Path | None:
    """Return the file of the keys that a server on ``host`` asks for; None where it asks for none.

    Raises
    ------
    UsageError
        Keys are asked for and forbidden.
    """
    if access.no_keys and access.keys is not None:
        raise UsageError(
            f"A server cannot ask for the keys of {access.keys} and for none.",
            next_step="Leave out one of --keys and --no-keys.",
        )
    if access.keys is not None or access.no_keys or is_loopback(host):
        return access.keys
    return keys_file() if keys_file().exists() else None


def open_door(access: Access, host: str, limits: Limits) -> Door:
    """Return the door of a server that listens on ``host``.

    Raises
    ------
    UsageError
        Others could reach it and there are no keys; the file of keys holds none; keys are asked for and forbidden; or
        a host that may be asked for is none.
    StorageError
        The file cannot be read.
    """
    path, hosts = keys_for(access, host), hosts_for(access, host)
    if path is None:
        door = Door(None, local_only=not access.no_keys, hosts=hosts)
        require_safe(door, host)
        return door
    return Door(_filled(path), hosts=hosts, wrong_per_minute=limits.wrong_keys_per_minute)


def hosts_for(access: Access, host: str) -> Hosts:
    """Return the names under which a server on ``host`` may be asked.

    Where others can reach it and the operator names none, any will do: nobody knows here what they call it.

    Raises
    ------
    UsageError
        One of those that the operator named is none.
    """
    if is_loopback(host):
        return Hosts(access.hosts)
    return Hosts(access.hosts or ("*",), addresses=True)


def _filled(path: Path) -> Keyring:
    if not path.exists():
        raise UsageError(f"There is no file of API keys at {path}.", next_step=_how(path))
    keyring = Keyring(path)
    if not keyring.keys():
        raise UsageError(f"The file of API keys {path} holds no key.", next_step=_how(path))
    return keyring


def _how(path: Path) -> str:
    return f"Make a key with `topwork keys create NAME --keys {path}`."


def require_safe(door: Door, host: str) -> None:
    """Refuse to let others reach a server that asks for no keys.

    Raises
    ------
    UsageError
        With how a key is made.
    """
    if door.local_only and not is_loopback(host):
        raise UsageError(
            f"Whoever can reach {host} could use this server: there are no API keys.",
            next_step="Make one with `topwork keys create NAME` and start again; or say --no-keys, "
            "where a proxy before the server asks for keys.",
        )


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine alone; False where that is not known."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
        return all(map(is_own, found))
    except (OSError, UnicodeError):
        return False
