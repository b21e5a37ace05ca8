"""A client that asks one server for more than it can do.

Run as a process of its own: ``python -m benchmarks.overload_side JSON`` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.asking import arrive, ask_on, post
from benchmarks.queueing import poisson
from benchmarks.servers import Running

_N_PATIENT = 16
"""Clients that find out how much the server can do."""


def main() -> None:
    """Measure before, during and after the overload."""
    asked = json.loads(sys.argv[1])
    print(json.dumps(asyncio.run(_measured(asked))))


async def _measured(asked: Mapping[str, Any]) -> dict[str, Any]:
    server, n = Running(asked["port"], asked["pid"]), asked["n_alone"]
    request = post(server.port, Path(asked["body"]).read_bytes(), asked["media_type"])
    await ask_on(server.port, request, n_clients=_N_PATIENT, n_each=asked["n_each"])
    before = await ask_on(server.port, request, n_clients=1, n_each=n)
    began_s = time.perf_counter()
    patient = await ask_on(server.port, request, n_clients=_N_PATIENT, n_each=asked["n_each"])
    per_s = len(patient) / (time.perf_counter() - began_s)
    arrivals_s = poisson(
        asked["times"] * per_s, round(asked["times"] * per_s * asked["seconds"]), random.Random(0)
    )
    resident_mb: list[float] = []
    watching = asyncio.create_task(_watch(server, resident_mb))
    came = await arrive(server.port, request, arrivals_s)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    after = await ask_on(server.port, request, n_clients=1, n_each=n)
    return {
        "before_s": [one.took_s for one in before],
        "after_s": [one.took_s for one in after],
        "statuses": Counter(str(one.status) for one in came),
        "accepted_s": [one.took_s for one in came if one.status == 200],
        "refused_s": [one.took_s for one in came if one.status == 429],
        "resident_mb": resident_mb,
        "per_s": per_s,
    }


async def _watch(server: Running, resident_mb: list[float]) -> None:
    while True:
        resident_mb.append(server.resident_mb)
        await asyncio.sleep(1.0)


if __name__ == "__main__":
    main()
