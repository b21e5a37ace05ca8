"""Three worker processes of which one after the other is killed, and three that make way for a new version."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.asking import ask_on, post
from benchmarks.figures import Goal, Spread, Table
from benchmarks.place import Place
from benchmarks.processes import TOPWORK, pinned, run_side
from benchmarks.queueing import percentile
from benchmarks.results import Section
from benchmarks.serve_ready import typical
from benchmarks.servers import Running, client_cores, server_cores, serving

_N_REPLICAS = 3
_LOAD = 0.5
_N_STARTS = 3
_N_CLIENTS, _N_EACH = 8, 40
_SECONDS, _QUICK_SECONDS = 60, 12
_N_VERSIONS = 4
_STARTS_BETWEEN = 2
_PATIENCE_S = 60.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class _Under:
    """What became of requests while something was done ``n_times`` to the processes."""

    what: str
    n_times: int
    found: Mapping[str, Any]
    n_retried: int
    n_given_up: int

    def n(self, *statuses: str) -> int:
        """Count the answers of these statuses."""
        return sum(self.found["statuses"].get(one, 0) for one in statuses)

    @property
    def n_all(self) -> int:
        """Count all answers, and requests without any."""
        return int(sum(self.found["statuses"].values()))


def measure(place: Place) -> Section:
    """Kill, then roll."""
    photo = place.temporary / "photo.jpg"
    photo.write_bytes(typical(place.photos()))
    seconds = _QUICK_SECONDS if place.is_quick else _SECONDS
    with _served(place) as (server, bundle):
        per_s = _LOAD * _pace(server, photo)
        start_s = statistics.median(_cold_start_s(server) for _ in range(_N_STARTS))
        print(f"{per_s:.0f} requests per s; a process is back after {start_s:.1f} s", flush=True)
        load = _Load(server, photo, per_s, seconds)
        killed = load.while_doing("killed", lambda: _kill_one(server, _STARTS_BETWEEN * start_s))
        _wait(lambda: _ready(server) == _N_REPLICAS)
        rolled = load.while_doing("new versions", lambda: _roll(server, bundle), at_most=_N_VERSIONS)
    return _section(killed, rolled, start_s, per_s, seconds)


@contextmanager
def _served(place: Place) -> Iterator[tuple[Running, Path]]:
    bundle, settings = place.bundle(), place.temporary / "topwork.yaml"
    settings.write_text(
        f"models:\n  - bundle: {bundle}\n    replicas: {{min_replicas: {_N_REPLICAS}, max_replicas: {_N_REPLICAS}}}\n",
        encoding="utf-8",
    )
    command = [*TOPWORK, "serve", "--config", str(settings)]
    with serving(pinned(command, server_cores()), place.env()) as server:
        yield server, bundle


def _pace(server: Running, photo: Path) -> float:
    """Return how many requests per second clients get answered that ask again at once."""
    request = post(server.port, photo.read_bytes(), "image/jpeg")
    asyncio.run(ask_on(server.port, request, n_clients=_N_CLIENTS, n_each=_N_EACH // 4))
    began_s = time.perf_counter()
    found = asyncio.run(ask_on(server.port, request, n_clients=_N_CLIENTS, n_each=_N_EACH))
    return len(found) / (time.perf_counter() - began_s)


def _cold_start_s(server: Running) -> float:
    """End a process of an idle server, and return how long it takes until another one is ready."""
    os.kill(_processes(server)[0], signal.SIGKILL)
    began_s = time.monotonic()
    _wait(lambda: _ready(server) < _N_REPLICAS)
    _wait(lambda: _ready(server) == _N_REPLICAS)
    return time.monotonic() - began_s


# --- under load -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Load:
    """Requests as they like (Poisson), so many per second for some time."""

    server: Running
    photo: Path
    per_s: float
    seconds: float

    def while_doing(self, what: str, act: Callable[[], None], *, at_most: int | None = None) -> _Under:
        """Act again and again while the requests come."""
        before, n_times = self._lost(), 0
        asked = {
            "port": self.server.port,
            "body": str(self.photo),
            "media_type": "image/jpeg",
            "per_s": self.per_s,
            "seconds": self.seconds,
            "seed": 0,
        }
        with ThreadPoolExecutor(1) as pool:
            side = pool.submit(run_side, "steady_side", asked, cores=client_cores())
            while not side.done() and n_times != at_most:
                act()
                n_times += 1
            found = side.result().last_json()
        grown = (_grown(earlier, now) for earlier, now in zip(before, self._lost(), strict=True))
        return _Under(what, n_times, found, *grown)

    def _lost(self) -> tuple[int, int]:
        return (
            _figure(self.server, "topwork_lost_requests_total", "retried"),
            _figure(self.server, "topwork_lost_requests_total", "given_up"),
        )


def _grown(before: int, now: int) -> int:
    """Return how much was counted meanwhile; a new version counts from zero."""
    return now if now < before else now - before


def _kill_one(server: Running, pause_s: float) -> None:
    time.sleep(pause_s)
    if there := _processes(server):
        os.kill(there[0], signal.SIGKILL)


def _roll(server: Running, bundle: Path) -> None:
    """Put another file in the bundle's place, and wait until none of the processes is there that opened the old one."""
    before = set(_processes(server))
    new = bundle.with_suffix(".new")
    shutil.copyfile(bundle, new)
    new.replace(bundle)
    os.kill(server.pid, signal.SIGHUP)
    _wait(lambda: not before & set(_processes(server)) and _ready(server) == _N_REPLICAS)


# --- looking --------------------------------------------------------------------------------------------


def _processes(server: Running) -> list[int]:
    """Return the processes that the server has started, the oldest first."""
    path = Path(f"/proc/{server.pid}/task")
    words = " ".join(one.read_text(encoding="ascii") for one in path.glob("*/children"))
    return sorted(int(word) for word in words.split())


def _ready(server: Running) -> int:
    return _figure(server, "topwork_replicas", "ready")


def _figure(server: Running, name: str, label: str) -> int:
    """Return a figure of the metrics, of all models."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=_PATIENCE_S) as answer:
        text = answer.read().decode()
    found = re.findall(rf'^{name}{{[^}}]*"{label}"[^}}]*}} ([0-9.e+]+)$', text, re.MULTILINE)
    return round(sum(map(float, found)))


def _wait(is_so: Callable[[], bool]) -> None:
    until_s = time.monotonic() + _PATIENCE_S
    while not is_so():
        if time.monotonic() > until_s:
            raise RuntimeError(f"The processes are not as they should be after {_PATIENCE_S:.0f} s.")
        time.sleep(_POLL_S)


# --- what is told ---------------------------------------------------------------------------------------


def _section(killed: _Under, rolled: _Under, start_s: float, per_s: float, seconds: float) -> Section:
    def none(what: str, n: int) -> Goal:
        return Goal(what, Spread((n,)), "at most", 0, "", 0)

    head = (
        "processes", "times", "requests", "200", "429", "503", "other", "asked again", "killed twice", "median ms",
        "p99 ms",
    )  # fmt: skip
    return Section(
        name="serve_replicas",
        title="Worker processes that are killed and replaced",
        goals=(
            none(
                "answers that were neither 200 nor 429, but for requests that were killed twice:",
                killed.n_all - killed.n("200", "429") - min(killed.n("503"), killed.n_given_up),
            ),
            none("answers that were not 200 while new versions came:", rolled.n_all - rolled.n("200")),
        ),
        tables=(Table(head, [_row(killed), _row(rolled)]),),
        notes=(
            f"The chess bundle with {_N_REPLICAS} worker processes, {per_s:.0f} requests per second as they like "
            f"(Poisson) for {seconds:g} s, which is {100 * _LOAD:.0f} % of what {_N_CLIENTS} clients get answered that "
            f"ask again at once. A process that was killed is back after {start_s:.1f} s when nothing else goes on; "
            f"every {_STARTS_BETWEEN * start_s:.1f} s the oldest one is killed. Then, under the same load, "
            f"{_N_VERSIONS} times a new file takes the bundle's place. The server and its processes have all cores but "
            "one, the client the last one.",
        ),
    )


def _row(under: _Under) -> tuple[str, ...]:
    known = ("200", "429", "503")
    answered_ms = [1000 * took_s for took_s in under.found["answered_s"]]
    return (
        under.what,
        str(under.n_times),
        f"{under.n_all:,}",
        *(f"{under.n(one):,}" for one in known),
        f"{under.n_all - under.n(*known):,}",
        str(under.n_retried),
        str(under.n_given_up),
        f"{statistics.median(answered_ms):.0f}",
        f"{percentile(answered_ms, 0.99):.0f}",
    )
