"""Thousands of connections that are open at once, each of which then asks once.

Run as a process of its own: ``python -m benchmarks.crowd_side JSON`` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections import Counter
from pathlib import Path

from benchmarks.asking import Line, post

_AT_A_TIME = 200
"""Connections that are being made at the same time; more would only wait in the system's line."""
_SPARE_FILES = 100
_PATIENCE_S = 120.0


def main() -> None:
    """Open, ask, and tell what became of each."""
    asked = json.loads(sys.argv[1])
    n_open = _allowed(asked["n"])
    request = post(asked["port"], Path(asked["body"]).read_bytes(), "application/octet-stream")
    print(json.dumps({"n": n_open, "ends": asyncio.run(_ends(asked["port"], request, n_open))}))


def _allowed(n: int) -> int:
    """Raise the limit of open files as far as it goes, and return how many connections there may be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = n + _SPARE_FILES
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most - _SPARE_FILES


async def _ends(port: int, request: bytes, n: int) -> Counter[str]:
    door, all_there, n_tried = asyncio.Semaphore(_AT_A_TIME), asyncio.Event(), 0

    async def one() -> str:
        nonlocal n_tried
        line = None
        async with door:
            try:
                line = await Line.dial(port)
            except OSError:
                return "not opened"
            finally:
                n_tried += 1
                if n_tried == n:
                    all_there.set()
        await all_there.wait()
        return await _end_of(line, request)

    return Counter(await asyncio.gather(*(one() for _ in range(n))))


async def _end_of(line: Line, request: bytes) -> str:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return str(await line.ask(request))
    except TimeoutError:
        return "lost"
    except (OSError, EOFError):
        return "closed"
    finally:
        line.close()


if __name__ == "__main__":
    main()
