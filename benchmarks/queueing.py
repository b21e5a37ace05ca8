"""A queue as it would be without any cost of its own: in order, one line, some servers. It measures nothing.

With arrivals of a Poisson process and any service times it is the queue M/G/c.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence

__all__ = ["percentile", "poisson", "times_in_queue"]


def poisson(per_s: float, n: int, draw: random.Random) -> list[float]:
    """Return the seconds at which ``n`` requests come, independently of each other, so many per second."""
    at_s, found = 0.0, []
    for _ in range(n):
        at_s += draw.expovariate(per_s)
        found.append(at_s)
    return found


def times_in_queue(arrivals_s: Sequence[float], services_s: Sequence[float], n_servers: int) -> list[float]:
    """Return how long each request waits and is served, where the first one free takes the first one that waits.

    Parameters
    ----------
    arrivals_s
        When each comes, in order.
    services_s
        How long each is served; as many.
    """
    free_at_s = [0.0] * n_servers
    found = []
    for at_s, service_s in zip(arrivals_s, services_s, strict=True):
        done_s = max(at_s, heapq.heappop(free_at_s)) + service_s
        heapq.heappush(free_at_s, done_s)
        found.append(done_s - at_s)
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least a share of all does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
