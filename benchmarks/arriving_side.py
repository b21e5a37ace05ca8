"""A client of a server: service times, and then requests that come as they like.

Run as a process of its own: ``python -m benchmarks.arriving_side JSON`` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.asking import Asked, arrive, ask_on, post
from benchmarks.queueing import poisson


def main() -> None:
    """Measure as often as is asked for."""
    asked = json.loads(sys.argv[1])
    print(json.dumps(asyncio.run(_measured(asked))))


async def _measured(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Ask with as many clients as there are places, then at a share of the rate at which these were answered."""
    port, n_places = asked["port"], asked["n_places"]
    request = post(port, Path(asked["body"]).read_bytes(), asked["media_type"])
    await ask_on(port, request, n_clients=n_places, n_each=asked["n_before"])
    served = await ask_on(port, request, n_clients=n_places, n_each=asked["n_served"] // n_places)
    per_s = n_places / (sum(one.took_s for one in served) / len(served))
    arrivals_s = poisson(asked["load"] * per_s, asked["n_arrivals"], random.Random(asked["seed"]))
    came = await arrive(port, request, arrivals_s)
    return {"served": _plain(served), "came": _plain(came), "per_s": per_s}


def _plain(found: list[Asked]) -> list[tuple[float, int, float]]:
    return [(one.at_s, one.status, one.took_s) for one in found]


if __name__ == "__main__":
    main()
