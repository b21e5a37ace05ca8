"""A client that stays for long: photos that are good and bad, connections that are kept and torn.

Run as a process of its own: ``python -m benchmarks.soak_side JSON`` prints one JSON object.
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

_N_PATIENT, _N_EACH = 8, 30
_N_RUDE = 20
"""Clients of each slice that leave in the middle of their request."""
_REST_S = 0.5


def main() -> None:
    """Stay for as long as is asked for."""
    asked = json.loads(sys.argv[1])
    print(json.dumps(asyncio.run(_measured(asked))))


async def _measured(asked: Mapping[str, Any]) -> dict[str, Any]:
    server, photo = Running(asked["port"], asked["pid"]), Path(asked["body"]).read_bytes()
    good, bad = (post(server.port, body, asked["media_type"]) for body in (photo, photo[: len(photo) // 2]))
    began_s = time.perf_counter()
    patient = await ask_on(server.port, good, n_clients=_N_PATIENT, n_each=_N_EACH)
    per_s = asked["load"] * len(patient) / (time.perf_counter() - began_s)
    statuses: Counter[str] = Counter()
    seen = []
    for number in range(asked["n_slices"]):
        draw = random.Random(number)
        arrivals_s = poisson(per_s, round(per_s * asked["slice_s"]), draw)
        request = bad if number % 4 == 3 else good
        statuses.update(str(one.status) for one in await arrive(server.port, request, arrivals_s))
        await asyncio.gather(
            *(_leave(server.port, good[: draw.randrange(len(good))]) for _ in range(_N_RUDE))
        )
        await asyncio.sleep(_REST_S)
        seen.append((server.resident_mb, server.n_files))
    return {"statuses": statuses, "seen": seen, "per_s": per_s}


async def _leave(port: int, part: bytes) -> None:
    with suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(part)
        await asyncio.sleep(_REST_S / 5)
        writer.close()


if __name__ == "__main__":
    main()
