"""How often somebody may come: a token bucket for each of many names. It knows no key and no request."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Buckets"]

MINUTE_S = 60.0


class Buckets:
    """One bucket per name, full at first; who comes takes a token, and time puts them back.

    A bucket holds as many tokens as come in a minute, so after a pause a whole minute's may be used at once.

    Parameters
    ----------
    clock
        Seconds that only grow.
    most
        Buckets in memory; beyond it the one that was used the longest ago is forgotten, and would be full again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, most: int = 10_000) -> None:
        self._clock = clock
        self._most = most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, per_minute: float) -> float:
        """Take a token; return 0, or where there is none the seconds until the next one comes."""
        now = self._clock()
        tokens, since = self._left.get(name, (per_minute, now))
        tokens = min(per_minute, tokens + (now - since) * per_minute / MINUTE_S)
        wait_s = 0.0 if tokens >= 1 else (1 - tokens) * MINUTE_S / per_minute
        self._left[name] = (tokens if wait_s else tokens - 1, now)
        self._left.move_to_end(name)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return wait_s

    def __len__(self) -> int:
        """Return how many buckets are in memory."""
        return len(self._left)
