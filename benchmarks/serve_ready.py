"""A server from nothing to its first answer, and how fast it answers then, beside decoding and engine alone."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Goal, Spread, Table
from benchmarks.place import Place
from benchmarks.processes import run_side
from benchmarks.results import Section
from benchmarks.servers import of_bundle, serving

__all__ = ["measure", "typical"]

_N_STARTS = 5
_N_REQUESTS = 200
_N_CLIENTS = 8
_N_ROUNDS = 3
_TIMEOUT_S = 60.0
_N_STEADY, _N_BEFORE = 100, 20


@dataclass(frozen=True, slots=True)
class _Start:
    """Seconds from the start of the process until ready, of the first answer, and the median of later ones."""

    ready_s: float
    first_s: float
    steady_s: float


def measure(place: Place) -> Section:
    """Start servers, then ask the last one."""
    bundle, photo = place.bundle(), typical(place.photos())
    starts = [_start(place, bundle, photo) for _ in place.rounds(_N_STARTS, "starts")]
    ready = Spread(tuple(one.ready_s for one in starts))
    first = Spread(tuple(one.first_s / one.steady_s for one in starts))
    n = 20 if place.is_quick else _N_REQUESTS
    with serving(of_bundle(bundle), place.env()) as server:
        _latencies_s(server.port, photo, _N_BEFORE)
        rounds = [_round(place, bundle, photo, server.port, n) for _ in place.rounds(_N_ROUNDS, "requests")]
    rows = [(name, *(Spread(values).shown(1) for values in _columns(rounds, name))) for name in rounds[0]]
    head = ("side", "median, ms", "99 % within, ms", f"{_N_CLIENTS} at once, per s")
    return Section(
        name="serve_ready",
        title="Serving",
        goals=(
            Goal("`topwork serve` is ready after", ready, "at most", 5, "s"),
            Goal("the first answer takes", first, "at most", 1.2, "times the median of later ones"),
        ),
        tables=(Table(head, rows),),
        notes=(
            "Ready means that `/readyz` answers 200: the golden examples were replayed. Clock from the start of "
            f"the process, {len(ready.values)} starts. After each, one client asks: the first answer, {_N_BEFORE} "
            f"that do not count, and the median of {_N_STEADY}.",
            f"{n} requests per cell and round, one JPEG of {len(photo) / 1000:.0f} kB as the body of "
            f"`POST /predict`, connections kept alive. The {_N_CLIENTS} clients are threads of a Python process "
            "on the same cores. “In process” decodes and runs the bundle's network, without HTTP.",
        ),
    )


def typical(photos: Path) -> bytes:
    """Return the JPEG whose size is the median."""
    found = sorted(photos.rglob("*.jp*g"), key=lambda path: (path.stat().st_size, path.name))
    return found[len(found) // 2].read_bytes()


# --- from the start to ready --------------------------------------------------------------------------


def _start(place: Place, bundle: Path, photo: bytes) -> _Start:
    began_s = time.perf_counter()
    with serving(of_bundle(bundle), place.env()) as server:
        ready_s = time.perf_counter() - began_s
        first_s, *later_s = _latencies_s(server.port, photo, 1 + _N_BEFORE + _N_STEADY)
    return _Start(ready_s, first_s, statistics.median(later_s[_N_BEFORE:]))


# --- once it is ready ---------------------------------------------------------------------------------


def _round(place: Place, bundle: Path, photo: bytes, port: int, n: int) -> dict[str, tuple[float, ...]]:
    """Measure the server and, right after it, the bare loop."""
    one_s = _latencies_s(port, photo, n)
    began_s = time.perf_counter()
    with ThreadPoolExecutor(_N_CLIENTS) as clients:
        list(clients.map(lambda _: _latencies_s(port, photo, n // _N_CLIENTS), range(_N_CLIENTS)))
    per_s = n // _N_CLIENTS * _N_CLIENTS / (time.perf_counter() - began_s)
    file = place.temporary / "photo.jpg"
    file.write_bytes(photo)
    asked = {"bundle": str(bundle), "photo": str(file), "n": n, "n_threads": _N_CLIENTS}
    bare = run_side("answering_side", asked).last_json()
    return {
        "`topwork serve`": (*_in_ms(one_s), per_s),
        "in process": (*_in_ms(bare["latencies_s"]), bare["per_s"]),
    }


def _latencies_s(port: int, photo: bytes, n: int) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    found = []
    for _ in range(n):
        began_s = time.perf_counter()
        connection.request("POST", "/predict", photo, {"Content-Type": "image/jpeg"})
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise RuntimeError(f"The server answered {response.status}.")
        found.append(time.perf_counter() - began_s)
    connection.close()
    return found


def _in_ms(latencies_s: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile, in milliseconds."""
    return 1000 * statistics.median(latencies_s), 1000 * statistics.quantiles(latencies_s, n=100)[98]


def _columns(rounds: Sequence[dict[str, tuple[float, ...]]], name: str) -> list[tuple[float, ...]]:
    return list(zip(*(one[name] for one in rounds), strict=True))
