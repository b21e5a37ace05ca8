"""A client at one rate for some time.

Run as a process of its own: ``python -m benchmarks.steady_side JSON`` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.asking import arrive, post
from benchmarks.queueing import poisson


def main() -> None:
    """Ask for as long as is asked for."""
    print(json.dumps(asyncio.run(_measured(json.loads(sys.argv[1])))))


async def _measured(asked: Mapping[str, Any]) -> dict[str, Any]:
    request = post(asked["port"], Path(asked["body"]).read_bytes(), asked["media_type"])
    n = round(asked["per_s"] * asked["seconds"])
    came = await arrive(asked["port"], request, poisson(asked["per_s"], n, random.Random(asked["seed"])))
    return {
        "statuses": Counter(str(one.status) for one in came),
        "answered_s": [one.took_s for one in came if one.status == 200],
    }


if __name__ == "__main__":
    main()
