"""Names under which a server lets itself be asked, so that no web page reaches it by a name of its own.

A page of ``evil.example`` may ask ``evil.example``, and whoever owns that name may say that its address is 127.0.0.1
(DNS rebinding): the browser then lets the page read what a server on this machine answers. But it says in the header
``Host`` by which name it came. It knows no model and no key.

Whoever sends no such header is no browser, and is let in.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from topwork.errors import UsageError
from topwork.serving.http.addresses import address_of, is_own
from topwork.serving.http.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from topwork.serving.http.messages import Request

__all__ = ["Hosts"]

ANY = "*"
LOCAL = "localhost"
_N_REMEMBERED = 64
_PORT = re.compile(r":[0-9]*$")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


class Hosts:
    """The names: always those of this machine for itself, and what the operator allows.

    Parameters
    ----------
    allowed
        Names or addresses without a port, such as ``models.example.org``; ``*`` for all.
    addresses
        Whether every address is good, too: a browser that came by an address asked nobody where it leads.

    Raises
    ------
    UsageError
        One is neither a name nor an address.
    """

    def __init__(self, allowed: Sequence[str] = (), *, addresses: bool = False) -> None:
        self._allowed = frozenset(map(_allowed, allowed))
        self._addresses = addresses
        self._knows = lru_cache(_N_REMEMBERED)(self._judged)  # clients say the same with each request

    def require(self, request: Request) -> None:
        """Refuse a request that came by another name.

        Raises
        ------
        Refusal
            421.
        """
        said = request.headers.get("host", "")
        if said and not self.knows(said):
            raise Refusal(
                "misdirected",
                f"This server is not asked under the name {said[:100]!r}.",
                next_step="Use http://localhost or http://127.0.0.1 with its port; for another name, as of a proxy "
                "before it, its operator starts it with --allow-host NAME.",
            )

    def knows(self, said: str) -> bool:
        """Tell whether a server may be asked by what a header ``Host`` says: a name or an address, perhaps a port."""
        return self._knows(said)

    def _judged(self, said: str) -> bool:
        if ANY in self._allowed:
            return True
        name = _bare(_PORT.sub("", said))
        if name in self._allowed or name == LOCAL or name.endswith(f".{LOCAL}"):
            return True
        return is_own(name) or (self._addresses and address_of(name) is not None)


def _bare(text: str) -> str:
    """Return a name in the one way of writing it, an address of IPv6 without its brackets."""
    name = text.strip().lower().removesuffix(".")
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name


def _allowed(text: str) -> str:
    name = _bare(text)
    if name == ANY or address_of(name) is not None or _NAME.fullmatch(name):
        return name
    raise UsageError(
        f"{text[:200]!r} is no name of a host; expected a name or an address, without http:// and without a port.",
        next_step="Give something like models.example.org, or * for every name.",
    )
