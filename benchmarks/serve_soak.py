"""A server that is asked for long: whether memory and open files stay what they are."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.figures import Goal, Spread, Table
from benchmarks.place import Place
from benchmarks.processes import pinned, run_side
from benchmarks.results import Section
from benchmarks.serve_ready import typical
from benchmarks.servers import client_cores, of_bundle, server_cores, serving

_SLICE_S, _QUICK_SLICE_S = 5, 1
_LEAST_SLICES = 8
_LOAD = 0.5
_MOST_GROWTH, _MOST_FILES = 1.03, 2


def measure(place: Place) -> Section:
    """Ask for as long as the place says."""
    photo = place.temporary / "photo.jpg"
    photo.write_bytes(typical(place.photos()))
    slice_s = _QUICK_SLICE_S if place.is_quick else _SLICE_S
    n_slices = _LEAST_SLICES if place.is_quick else max(_LEAST_SLICES, round(place.soak_s / slice_s))
    print(f"{n_slices * slice_s} s", flush=True)
    with serving(pinned(of_bundle(place.bundle()), server_cores()), place.env()) as server:
        asked = {
            "port": server.port,
            "pid": server.pid,
            "body": str(photo),
            "media_type": "image/jpeg",
            "load": _LOAD,
            "slice_s": slice_s,
            "n_slices": n_slices,
        }
        found = run_side("soak_side", asked, cores=client_cores()).last_json()
    return _section(found, n_slices * slice_s)


def _section(found: Mapping[str, Any], seconds: int) -> Section:
    (first_mb, first_files), (last_mb, last_files) = (_middle(part) for part in _quarters(found["seen"]))
    statuses = ", ".join(f"{n:,} × {status}" for status, n in sorted(found["statuses"].items()))
    n_other = sum(n for status, n in found["statuses"].items() if status not in ("200", "422"))
    row = (
        f"{found['per_s']:.0f}",
        statuses,
        f"{first_mb:.1f}",
        f"{last_mb:.1f}",
        f"{first_files:.0f}",
        f"{last_files:.0f}",
    )
    return Section(
        name="serve_soak",
        title="A server after a while",
        goals=(
            Goal("memory grew to", Spread((last_mb / first_mb,)), "at most", _MOST_GROWTH, "times", 3),
            Goal("further open files:", Spread((last_files - first_files,)), "at most", _MOST_FILES, "", 0),
            Goal("answers that were neither 200 nor 422:", Spread((n_other,)), "at most", 0, "", 0),
        ),
        tables=(
            Table(("asked, per s", "answers", "MB early", "MB late", "files early", "files late"), [row]),
        ),
        notes=(
            f"The chess bundle for {seconds} s at {100 * _LOAD:.0f} % of what it answers to clients that ask again at "
            "once, with a quarter of the time given to photos that break off, and clients that leave in the middle "
            "of a request. Early is the median of the second quarter of the time, late that of the last.",
        ),
    )


def _quarters(
    seen: Sequence[tuple[float, int]],
) -> tuple[Sequence[tuple[float, int]], Sequence[tuple[float, int]]]:
    quarter = len(seen) // 4
    return seen[quarter : 2 * quarter], seen[-quarter:]


def _middle(part: Sequence[tuple[float, int]]) -> tuple[float, float]:
    return statistics.median(mb for mb, _ in part), statistics.median(n for _, n in part)
