"""How many connections each client has open, so that one of them cannot take all. It knows no request and no socket."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Final

from topwork.serving.http.addresses import client_of, is_own

__all__ = ["MOST_OF_OTHERS", "Crowd"]

MOST_OF_OTHERS: Final = 512
"""Connections of a client on another machine, where the operator says nothing; a proxy there may have many."""


class Crowd:
    """The connections of all clients. Use it from one event loop.

    Attributes
    ----------
    most
        Connections of one client. None is `MOST_OF_OTHERS` for other machines and no bound for this one, on which a
        proxy may stand before the server.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> int:
        """Count a connection, and return by how many its client has more than it may; 0 or less where it has not."""
        client = client_of(address)
        self._open[client] += 1
        return self._open[client] - self._bound(address)

    def leave(self, address: str) -> None:
        """Count a connection that is closed."""
        client = client_of(address)
        self._open[client] -= 1
        if self._open[client] <= 0:  # who is gone is forgotten
            del self._open[client]

    def __len__(self) -> int:
        """Return how many clients have a connection."""
        return len(self._open)

    def _bound(self, address: str) -> int:
        if not address:  # a socket without addresses: whoever comes is the same
            return sys.maxsize
        if self.most is not None:
            return self.most
        return sys.maxsize if is_own(address) else MOST_OF_OTHERS
