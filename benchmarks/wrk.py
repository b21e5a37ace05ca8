"""Load by wrk, which costs little of the processor that it measures: https://github.com/wg/wrk. It knows no server.

On Debian and Ubuntu it is the package ``wrk``.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import pinned, run

__all__ = ["Load", "NoAnswerError", "Post", "load"]

_SCRIPT = """
local file = assert(io.open("{body}", "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "{media_type}"
file:close()

done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{{"n": %d, "wall_s": %.6f, "median_ms": %.4f, "p99_ms": %.4f, "n_failed": %d}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class NoAnswerError(RuntimeError):
    """Not one request was answered."""


@dataclass(frozen=True, slots=True)
class Post:
    """A request that is sent again and again; its body stands in a file."""

    url: str
    body: Path
    media_type: str


@dataclass(frozen=True, slots=True)
class Load:
    """What clients saw that each ask again as soon as they are answered.

    Attributes
    ----------
    n_failed
        Answers that were none of the statuses 2xx and 3xx, and connections that failed.
    """

    n: int
    wall_s: float
    median_ms: float
    p99_ms: float
    n_failed: int

    @property
    def per_s(self) -> float:
        """Answers per second."""
        return self.n / self.wall_s


def load(post: Post, *, n_clients: int, seconds: int, cores: Sequence[int] = ()) -> Load:
    """Ask for some seconds.

    Parameters
    ----------
    cores
        Where wrk runs; anywhere where there is none.

    Raises
    ------
    RuntimeError
        There is no wrk, or not every request was answered well.
    """
    if shutil.which("wrk") is None:
        raise RuntimeError("There is no wrk; on Debian and Ubuntu `apt-get install wrk` brings it.")
    script = post.body.with_name(f"{post.body.name}.lua")
    script.write_text(_SCRIPT.format(body=post.body, media_type=post.media_type), encoding="utf-8")
    command = [
        "wrk",
        "-t1",
        f"-c{n_clients}",
        f"-d{seconds}s",
        "--timeout",
        "10s",
        "-s",
        str(script),
        post.url,
    ]
    seen = Load(**run(pinned(command, cores)).last_json())
    if seen.n_failed:
        raise RuntimeError(f"{seen.n_failed} of {seen.n} requests to {post.url} failed.")
    if not seen.n:
        raise NoAnswerError(f"No request to {post.url} was answered within {seconds} s.")
    return seen
