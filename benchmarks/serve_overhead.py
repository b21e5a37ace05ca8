"""What the server adds to a model: milliseconds for one client, and how many requests one core answers at best."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Goal, Spread, Table
from benchmarks.place import Place
from benchmarks.processes import pinned, run_side
from benchmarks.results import Section
from benchmarks.serve_ready import typical
from benchmarks.servers import client_cores, of_bundle, of_trivial, server_cores, serving
from benchmarks.trivial_server import Trivial
from benchmarks.wrk import Post, load

_N_ROUNDS = 5
_LOAD_S, _QUICK_LOAD_S = 10, 2
_N_BARE, _QUICK_N_BARE = 500, 30
_N_CLIENTS = 16
_MOST_ADDED_MS, _LEAST_PER_S = 1.0, 3000


@dataclass(frozen=True, slots=True)
class _Round:
    """Milliseconds of one client, and requests per second; of the trivial model and of the chess bundle."""

    trivial_ms: float
    trivial_bare_ms: float
    trivial_p99_ms: float
    trivial_per_s: float
    bundle_ms: float
    bundle_bare_ms: float

    @property
    def trivial_added_ms(self) -> float:
        return self.trivial_ms - self.trivial_bare_ms

    @property
    def bundle_added_ms(self) -> float:
        return self.bundle_ms - self.bundle_bare_ms


def measure(place: Place) -> Section:
    """Ask a trivial model and the chess bundle, each beside itself without a server."""
    bundle = place.bundle()
    photo, byte = place.temporary / "photo.jpg", place.temporary / "byte"
    photo.write_bytes(typical(place.photos()))
    byte.write_bytes(b"x")
    trivial = of_trivial(limits={"max_concurrent": 1})
    pinned_there = pinned(trivial, server_cores()[:1])
    with serving(pinned_there) as small, serving(of_bundle(bundle), place.env()) as whole:
        bytes_to = Post(f"{small.url}/predict", byte, "application/octet-stream")
        photos_to = Post(f"{whole.url}/predict", photo, "image/jpeg")
        rounds = [
            _round(place, bundle, bytes_to, photos_to)
            for _ in place.rounds(_N_ROUNDS, "requests, one client")
        ]
    return _section(rounds, len(photo.read_bytes()))


def _round(place: Place, bundle: Path, bytes_to: Post, photos_to: Post) -> _Round:
    seconds = _QUICK_LOAD_S if place.is_quick else _LOAD_S
    there = client_cores()
    alone = load(bytes_to, n_clients=1, seconds=seconds, cores=there)
    several = load(bytes_to, n_clients=_N_CLIENTS, seconds=seconds, cores=there)
    n = _QUICK_N_BARE if place.is_quick else _N_BARE
    asked = {"bundle": str(bundle), "photo": str(photos_to.body), "n": n, "n_threads": 1}
    bare = run_side("answering_side", asked, place.env()).last_json()
    one_photo = load(photos_to, n_clients=1, seconds=seconds)
    return _Round(
        trivial_ms=alone.median_ms,
        trivial_bare_ms=_bare_ms(),
        trivial_p99_ms=alone.p99_ms,
        trivial_per_s=several.per_s,
        bundle_ms=one_photo.median_ms,
        bundle_bare_ms=1000 * statistics.median(bare["latencies_s"]),
    )


def _bare_ms() -> float:
    """Return the median time in which the trivial model answers without a server."""
    model, spent = Trivial(), []
    for _ in range(1000):
        began_s = time.perf_counter()
        list(model.submit([b"x"]))
        spent.append(time.perf_counter() - began_s)
    return 1000 * statistics.median(spent)


def _section(rounds: list[_Round], n_bytes: int) -> Section:
    def spread(name: str) -> Spread:
        return Spread(tuple(getattr(one, name) for one in rounds))

    of_trivial_ms, of_bundle_ms = spread("trivial_added_ms"), spread("bundle_added_ms")
    head = (
        "model",
        "alone, ms",
        "behind the server, ms",
        "added, ms",
        "99 % within, ms",
        f"{_N_CLIENTS} clients, per s",
    )
    rows = [
        (
            "trivial",
            spread("trivial_bare_ms").shown(4),
            spread("trivial_ms").shown(3),
            of_trivial_ms.shown(3),
            spread("trivial_p99_ms").shown(3),
            spread("trivial_per_s").shown(0),
        ),
        (
            "chess photos",
            spread("bundle_bare_ms").shown(2),
            spread("bundle_ms").shown(2),
            of_bundle_ms.shown(2),
            "",
            "",
        ),
    ]
    return Section(
        name="serve_overhead",
        title="What a server adds",
        goals=(
            Goal(
                "to a trivial model the server adds at the median",
                of_trivial_ms,
                "at most",
                _MOST_ADDED_MS,
                "ms",
                3,
            ),
            Goal("to a model of photos", of_bundle_ms, "at most", _MOST_ADDED_MS, "ms"),
            Goal(
                "one core answers",
                spread("trivial_per_s"),
                "at least",
                _LEAST_PER_S,
                "trivial requests per s",
                0,
            ),
        ),
        tables=(Table(head, rows),),
        notes=(
            "Load by wrk, connections kept alive, one byte as the body of `POST /predict`. The server of the trivial "
            "model has one worker and is pinned to one core, wrk to another.",
            f"The photo is a JPEG of {n_bytes / 1000:.0f} kB; its server and wrk run on all cores. “Alone” is decoding "
            "and the bundle's network in a loop, in a process of its own. Differences are those of medians, round by "
            "round.",
        ),
    )
