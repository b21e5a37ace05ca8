"""Telling another server of an end: only one that the operator allows, signed, and hearing no more than a status.

Messages are signed as the Standard Webhooks specification has it
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md). It knows no job.

A name may lead anywhere, and may lead elsewhere a moment later. So the address that was checked is the one that is
connected to; addresses that are not of the open Internet are refused unless the operator named them; nothing is
redirected; and TLS proves the name.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import ipaddress
import re
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

from topwork.errors import UsageError
from topwork.storage import explain

__all__ = ["Target", "Undelivered", "Webhooks", "read_secrets", "signed"]

Resolve: TypeAlias = Callable[[str, int], Sequence[str]]
"""Name and port to addresses."""

LONGEST_URL: Final = 2000
TIMEOUT_S: Final = 10.0
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what every secret begins with
LEAST_SECRET, MOST_SECRET = 24, 64
_PORTS: Final = {"https": 443, "http": 80}
NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
"""Carries an address of IPv4 in its last 32 bits: RFC 6052."""

_URL = re.compile(r"https?://[!-~]+", re.ASCII)


class Undelivered(Exception):  # noqa: N818 - it is an outcome
    """A message was not taken; ``final`` says that it is of no use to send it again."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


@dataclass(frozen=True, slots=True)
class Target:
    """Where a message goes: scheme, name and port, and the rest of its URL."""

    scheme: str
    host: str
    port: int
    path: str = "/"

    @property
    def place(self) -> tuple[str, str, int]:
        """What an operator allows."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """What the header Host says."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _PORTS[self.scheme] else f"{name}:{self.port}"


def _resolved(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(info[4][0]) for info in found))


@dataclass(frozen=True, slots=True)
class Webhooks:
    """What an operator allows, and how messages are sent.

    Attributes
    ----------
    allowed
        Hosts as the operator wrote them: ``hooks.example.org``, with ``:PORT`` where it is not 443; with ``http://``
        in front for a loopback address alone. A host that is an address may lie in a private network.
    secret
        File with secrets, one a line: ``whsec_`` and base64 of 24 to 64 bytes. Each signs, so that one can be replaced.
    resolve
        Gives the addresses of a name.
    tls
        Makes what checks certificates.
    timeout_s
        Longest time for connecting, and for each wait after it.
    """

    allowed: tuple[str, ...]
    secret: Path
    resolve: Resolve = _resolved
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context
    timeout_s: float = TIMEOUT_S
    places: frozenset[tuple[str, str, int]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", frozenset(_allowed(word).place for word in self.allowed))

    def target(self, url: str) -> Target:
        """Return where a URL leads, if messages may go there.

        Raises
        ------
        UsageError
            They may not, or it is no such URL.
        """
        target = _parsed(url)
        if target is None or target.place not in self.places:
            raise UsageError(
                f"{url[:200]!r} is no URL that this server sends webhooks to.",
                next_step=f"The operator allows: {', '.join(self.allowed)}.",
            )
        return target

    def send(self, url: str, message: Mapping[str, str], body: bytes) -> None:
        """Send a signed message, and wait for its status; blocks.

        Parameters
        ----------
        message
            Its headers.

        Raises
        ------
        Undelivered
            It was not taken.
        """
        try:
            target = self.target(url)
        except UsageError as error:  # it was allowed once
            raise Undelivered(error.problem, final=True) from error
        try:
            status = self._sent(target, message, body)
        except (OSError, http.client.HTTPException) as error:
            raise Undelivered(f"{type(error).__name__}: {error}"[:200]) from error
        if not 200 <= status < 300:
            raise Undelivered(f"the answer has the status {status}", final=status == http.HTTPStatus.GONE)

    def _sent(self, target: Target, message: Mapping[str, str], body: bytes) -> int:
        connection = http.client.HTTPConnection(target.host, target.port, timeout=self.timeout_s)
        # With a socket of its own it never looks the name up again.
        connection.sock = self._connected(target)
        try:
            headers = {**message, "host": target.authority, "content-type": "application/json"}
            connection.request("POST", target.path, body, headers)
            with connection.getresponse() as response:  # of which nothing more is read
                return response.status
        finally:
            connection.close()

    def _connected(self, target: Target) -> socket.socket:
        address = self._address(target)
        opened = socket.create_connection((address, target.port), self.timeout_s)
        if target.scheme == "http":
            return opened
        try:
            return self.tls().wrap_socket(opened, server_hostname=target.host)
        except BaseException:
            opened.close()
            raise

    def _address(self, target: Target) -> str:
        """Return the address to connect to, after a look at all of them."""
        found = self.resolve(target.host, target.port)
        for one in found:
            if not self._may_be(one, target):
                raise Undelivered(
                    f"{target.host} leads to {one}, an address that is not of the open Internet"
                )
        if not found:
            raise Undelivered(f"{target.host} leads nowhere")
        return found[0]

    def _may_be(self, found: str, target: Target) -> bool:
        address = _address_of(found)
        if _is_loopback(target.host):
            return address.is_loopback
        named = {str(one) for _, host, _ in self.places if (one := _literal(host)) is not None}
        return (address.is_global and not address.is_multicast) or str(address) in named


def _address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address; one of IPv4 that is written as one of IPv6, or carried by it, is what it stands for."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return address
    carried = address.ipv4_mapped or address.sixtofour
    if carried is None and address in NAT64:
        carried = ipaddress.IPv4Address(address.packed[-4:])
    return carried or address


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return _address_of(host)
    except ValueError:
        return None


def _allowed(word: str) -> Target:
    """Read a host as an operator writes it."""
    target = _parsed(word if "://" in word else f"https://{word}")
    if target is None or target.path != "/" or word.endswith("/"):
        raise UsageError(
            f"{word!r} is no host to send webhooks to.",
            next_step="Give a host such as hooks.example.org or hooks.example.org:8443.",
        )
    if target.scheme == "http" and not _is_loopback(target.host):
        raise UsageError(
            f"{word!r} would be told without TLS; http is for a loopback address alone.",
            next_step="Allow the host without http://, and give it a certificate.",
        )
    return target


def _is_loopback(host: str) -> bool:
    address = _literal(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _parsed(url: str) -> Target | None:
    """Take a URL apart; None where it is none, or has what none here needs: a user, a fragment, odd characters."""
    if len(url) > LONGEST_URL or not _URL.fullmatch(url):
        return None
    try:
        parts: SplitResult = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc or parts.fragment:
        return None
    path = parts.path or "/"
    return Target(
        parts.scheme,
        parts.hostname,
        _PORTS[parts.scheme] if port is None else port,
        f"{path}?{parts.query}" if parts.query else path,
    )


# --- signatures ---------------------------------------------------------------------------------------


def read_secrets(path: Path) -> tuple[bytes, ...]:
    """Return the secrets of a file, at least one.

    Raises
    ------
    StorageError
        It cannot be read.
    UsageError
        A line is no secret, or there is none.
    """
    try:
        lines = path.read_text("utf-8", "replace").split()
    except OSError as error:
        raise explain(error, path, doing="read") from error
    secrets = tuple(found for line in lines if (found := _secret(line)) is not None)
    if not lines or len(secrets) < len(lines):
        raise UsageError(
            f"{path} holds no secret for webhooks; expected {SECRET_PREFIX} and base64 of "
            f"{LEAST_SECRET} to {MOST_SECRET} bytes, one a line.",
            next_step=f'Make one: echo "{SECRET_PREFIX}$(head -c 32 /dev/urandom | base64)" > {path}',
        )
    return secrets


def _secret(line: str) -> bytes | None:
    try:
        content = base64.b64decode(line.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    is_one = line.startswith(SECRET_PREFIX) and LEAST_SECRET <= len(content) <= MOST_SECRET
    return content if is_one else None


def signed(secrets: Sequence[bytes], name: str, at_s: int, body: bytes) -> dict[str, str]:
    """Return the headers of a message: its id, when it is sent in seconds since 1970, and a signature per secret."""
    content = f"{name}.{at_s}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(one, content, hashlib.sha256)).decode() for one in secrets)
    return {
        "webhook-id": name,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }
