"""The clients of the benchmark ``chatting``: ``python -m benchmarks.chatting_side JSON`` prints what they saw."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

_N_PROMPT, _N_ALONE, _N_CROWD = 64, 8, 64
_FIRST_WORD, _N_WORDS = 1000, 40_000
"""Of the vocabulary; prompts are runs of tokens from there on, each its own."""


@dataclass(slots=True)
class Client:
    """What one client saw: when it asked, when each of its tokens came, and whether it came to the end."""

    began_s: float = 0.0
    times_s: list[float] = field(default_factory=list)
    failed: bool = True


async def ask(session: httpx.AsyncClient, number: int, n: int) -> Client:
    """Stream ``n`` tokens."""
    prompt = [_FIRST_WORD + (97 * number + place) % _N_WORDS for place in range(_N_PROMPT)]
    body = {
        "prompt": prompt,
        "max_tokens": n,
        "stream": True,
        "temperature": 0,
        "logit_bias": {"0": -100, "2": -100},
    }
    one = Client(time.perf_counter())
    async with session.stream("POST", "/v1/completions", json={**body, "logprobs": 0}) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            one.times_s += [time.perf_counter()] * _n_tokens(line)
    one.failed = len(one.times_s) != n
    return one


def _n_tokens(line: str) -> int:
    """Return how many tokens an event tells of."""
    content = line.removeprefix("data: ")
    if not content.startswith("{"):
        return 0
    choices: Any = json.loads(content).get("choices") or [{}]
    return len((choices[0].get("logprobs") or {"tokens": []})["tokens"])


async def measured(url: str, n_alone: int, n_clients: int) -> dict[str, float]:
    """Ask alone, one request after the other, and then all at once."""
    limits = httpx.Limits(max_connections=n_clients)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as session:
        seed = int(time.time()) % 100  # so that no round finds the prompts of another in the cache
        alone = [await ask(session, n_alone * seed + number, _N_ALONE) for number in range(n_alone)]
        began_s = time.perf_counter()
        crowd = await asyncio.gather(
            *(ask(session, 7919 + 101 * seed + i, _N_CROWD) for i in range(n_clients))
        )
        took_s = time.perf_counter() - began_s
    first_end = min(one.times_s[-1] for one in crowd if one.times_s)
    got = [sum(when <= first_end for when in one.times_s) for one in crowd]
    return {
        "first_ms": 1000 * statistics.median(one.times_s[0] - one.began_s for one in alone),
        "crowd_first_ms": 1000
        * statistics.median(one.times_s[0] - one.began_s for one in crowd if one.times_s),
        "uneven": max(got) / max(1, min(got)),
        "n_failed": sum(one.failed for one in [*alone, *crowd]),
        "tokens_per_s": sum(len(one.times_s) for one in crowd) / took_s,
    }


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    print(json.dumps(asyncio.run(measured(asked["url"], asked["n_alone"], asked["n_clients"]))))
