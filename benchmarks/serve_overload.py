"""A server that is asked for three times what it can do, and one that thousands of clients are connected to at once."""

from __future__ import annotations

import resource
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import Goal, Spread, Table
from benchmarks.place import Place
from benchmarks.processes import pinned, run_side
from benchmarks.results import Section
from benchmarks.serve_ready import typical
from benchmarks.servers import client_cores, of_bundle, of_trivial, server_cores, serving

_TIMES = 3
_SECONDS, _QUICK_SECONDS = 60, 5
_N_ALONE, _N_EACH = 200, 30
_DEADLINE_S = 2.0
_SETTLED_AFTER_S = 10
_MOST_GROWTH, _MOST_LATER = 1.05, 1.2
_N_CONNECTIONS, _QUICK_N_CONNECTIONS = 10_000, 1_500
_DEFAULT = "as it comes"


@dataclass(frozen=True, slots=True)
class _Overload:
    """What one overload came to; latencies in seconds, memory in millions of bytes."""

    found: Mapping[str, Any]

    @property
    def n_other(self) -> int:
        """Answers that were neither 200 nor 429, and requests without any."""
        return int(sum(n for status, n in self.found["statuses"].items() if status not in ("200", "429")))

    @property
    def in_time(self) -> float:
        """Per cent of what was accepted that met the deadline."""
        accepted = self.found["accepted_s"]
        return float(100 * sum(took_s <= _DEADLINE_S for took_s in accepted) / len(accepted))

    @property
    def growth(self) -> float:
        """The largest memory over that after the first seconds."""
        seen = self.found["resident_mb"]
        settled = seen[min(_SETTLED_AFTER_S, len(seen) // 2) :]
        return float(max(settled) / settled[0])

    @property
    def later(self) -> float:
        """The median of one client afterwards over that before."""
        return float(statistics.median(self.found["after_s"]) / statistics.median(self.found["before_s"]))


@dataclass(frozen=True, slots=True)
class _Crowd:
    """What became of connections that were open at once: statuses, ``closed``, ``lost``, ``not opened``."""

    kind: str
    n: int
    ends: Mapping[str, int]


def measure(place: Place) -> Section:
    """Overload the chess bundle, then crowd a trivial model."""
    photo, byte = place.temporary / "photo.jpg", place.temporary / "byte"
    photo.write_bytes(typical(place.photos()))
    byte.write_bytes(b"x")
    overload = _overload(place, photo)
    n = _QUICK_N_CONNECTIONS if place.is_quick else _N_CONNECTIONS
    crowds = [
        _crowd(_DEFAULT, byte, n, {}),
        _crowd(f"room for {n:,}", byte, n, {"max_connections": n, "header_timeout_s": 120.0}),
    ]
    return _section(overload, crowds, _QUICK_SECONDS if place.is_quick else _SECONDS)


def _overload(place: Place, photo: Path) -> _Overload:
    command = of_bundle(place.bundle(), "--deadline", f"{_DEADLINE_S}s")
    print("overload", flush=True)
    with serving(pinned(command, server_cores()), place.env()) as server:
        asked = {
            "port": server.port,
            "pid": server.pid,
            "body": str(photo),
            "media_type": "image/jpeg",
            "n_alone": _N_ALONE,
            "n_each": _N_EACH,
            "times": _TIMES,
            "seconds": _QUICK_SECONDS if place.is_quick else _SECONDS,
        }
        return _Overload(run_side("overload_side", asked, cores=client_cores()).last_json())


def _crowd(kind: str, byte: Path, n: int, limits: dict[str, object]) -> _Crowd:
    print(f"{n} connections, {kind}", flush=True)
    with serving(of_trivial(limits=limits)) as server:
        found = run_side("crowd_side", {"port": server.port, "body": str(byte), "n": n}).last_json()
        with_all = run_side("crowd_side", {"port": server.port, "body": str(byte), "n": 1}).last_json()
    if with_all["ends"] != {"200": 1}:
        raise RuntimeError(f"After the crowd a single client got {with_all['ends']}.")
    return _Crowd(kind, found["n"], found["ends"])


def _section(overload: _Overload, crowds: list[_Crowd], seconds: int) -> Section:
    def once(value: float) -> Spread:
        return Spread((value,))

    return Section(
        name="serve_overload",
        title="Too much to do",
        goals=[
            Goal("answers that were neither 200 nor 429:", once(overload.n_other), "at most", 0, "", 0),
            Goal("of what was accepted met its deadline", once(overload.in_time), "at least", 100, "%", 1),
            Goal("memory in the overload grew to", once(overload.growth), "at most", _MOST_GROWTH, "times"),
            Goal(
                "one client afterwards waits",
                once(overload.later),
                "at most",
                _MOST_LATER,
                "times as long as before",
            ),
            *(
                Goal(f"connections without an end, {one.kind}:", once(_without_end(one)), "at most", 0, "", 0)
                for one in crowds
            ),
        ],
        tables=(_table(overload), _crowds(crowds)),
        notes=(
            f"The chess bundle, {_TIMES} times as many requests as it answers to 16 clients that ask again at once, as "
            f"they like (Poisson), for {seconds} s; a deadline of {_DEADLINE_S:g} s, all else as it comes. The "
            "server has all cores but one, the client the last one. Times count from when a request was to be sent.",
            "Then connections to a trivial model, all open at once, of which each asks once when all are there. "
            "“Closed” is a connection that the server ended without an answer, as it says it does far beyond its "
            f"limit. The limit of open files was {resource.getrlimit(resource.RLIMIT_NOFILE)[1]:,} for each process.",
        ),
    )


def _without_end(crowd: _Crowd) -> int:
    """Count the connections of which nothing is known; where there was room for all, those without an answer."""
    unknown = ("lost", "not opened") if crowd.kind == _DEFAULT else ("lost", "not opened", "closed")
    return sum(crowd.ends.get(end, 0) for end in unknown)


def _table(overload: _Overload) -> Table:
    found = overload.found
    statuses = ", ".join(f"{n:,} × {status}" for status, n in sorted(found["statuses"].items()))
    head = (
        "can do, per s", "answers", "accepted, median ms", "slowest ms", "refused, median ms", "MB before",
        "MB at most", "alone before, ms", "alone after, ms",
    )  # fmt: skip
    row = (
        f"{found['per_s']:.0f}",
        statuses,
        _median_ms(found["accepted_s"]),
        f"{1000 * max(found['accepted_s']):.0f}",
        _median_ms(found["refused_s"]) if found["refused_s"] else "",
        f"{found['resident_mb'][0]:.0f}",
        f"{max(found['resident_mb']):.0f}",
        _median_ms(found["before_s"]),
        _median_ms(found["after_s"]),
    )
    return Table(head, [row])


def _median_ms(seconds: list[float]) -> str:
    return f"{1000 * statistics.median(seconds):.1f}"


def _crowds(crowds: list[_Crowd]) -> Table:
    ends = sorted({end for one in crowds for end in one.ends})
    return Table(
        ("settings", "connections", *ends),
        [(one.kind, f"{one.n:,}", *(f"{one.ends.get(end, 0):,}" for end in ends)) for one in crowds],
    )
