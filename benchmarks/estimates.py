"""What `topwork estimate` says beforehand, held against what fits then took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Goal, Spread, Table
from benchmarks.generated import write_photos
from benchmarks.place import Place
from benchmarks.processes import PROBE_ALONE, TOPWORK, Ended, run
from benchmarks.results import Section
from topwork.bundle import open_bundle
from topwork.engines.machine import survey

_BUDGETS = ("1m", "3m")
_QUICK_BUDGETS = ("20s",)
_N_GENERATED, _N_QUICK = 3_000, 200
_PROMISED_SHARE, _PROMISED_WIDTH = 0.8, 2.0


@dataclass(frozen=True, slots=True)
class _Held:
    """One forecast and what came."""

    data: str
    what: str
    unit: str
    low: float
    high: float
    actual: float

    @property
    def is_inside(self) -> bool:
        return self.low <= self.actual <= self.high

    def row(self) -> tuple[str, ...]:
        """Return the cells of a table; bytes as MB."""
        scale, unit, digits = (1e6, "MB", 0) if self.unit == "bytes" else (1.0, "s", 1)
        low, high, actual = (f"{value / scale:,.{digits}f}" for value in (self.low, self.high, self.actual))
        return (
            self.data,
            self.what,
            f"{low}–{high} {unit}",
            f"{actual} {unit}",
            "yes" if self.is_inside else "no",
        )


def measure(place: Place) -> Section:
    """Estimate and then fit each data set, with each budget, nothing of it cached."""
    held = [one for name, data in _data_sets(place).items() for one in _hold(place, name, data)]
    inside = sum(one.is_inside for one in held) / len(held)
    widest = max(one.high / one.low for one in held)
    return Section(
        name="estimates",
        title="Estimates beforehand",
        goals=(
            Goal("share of ranges that held what came,", Spread((inside,)), "at least", _PROMISED_SHARE, ""),
            Goal(
                "the widest range's top over its bottom,",
                Spread((widest,)),
                "at most",
                _PROMISED_WIDTH,
                "times",
            ),
        ),
        tables=(Table(("data", "what", "estimate", "came to", "inside"), [one.row() for one in held]),),
        notes=(
            "`topwork estimate`, then `topwork fit --proof none`, each a process; weights cached, features not. "
            "Seconds of probe and ladder are those of the whole command, bytes its largest resident set.",
        ),
    )


def _data_sets(place: Place) -> Mapping[str, Path]:
    n = _N_QUICK if place.is_quick else _N_GENERATED
    generated = write_photos(place.temporary / f"generated-{n}", n, survey().n_cores)
    found = {"chess": place.photos(), f"{n:,} generated": generated}
    return found if place.hotdog is None else {**found, "hot dogs": place.hotdog_photos()}


def _hold(place: Place, name: str, data: Path) -> Iterator[_Held]:
    """Yield each forecast of a data set beside what a fit came to."""
    probe = _fit(place, data, PROBE_ALONE)
    for budget in _QUICK_BUDGETS if place.is_quick else _BUDGETS:
        run([*TOPWORK, "cache", "clear"], place.env())
        words = ["--budget", budget]
        told = run([*TOPWORK, "estimate", str(data), *words, "--json", "-q"], place.env()).last_json()
        ladder = _fit(place, data, (*words, "--proof", "none"))
        record = open_bundle(place.temporary / "estimated.topwork").record()
        came = {
            ("probe", "seconds"): probe.wall_s,
            ("probe", "bytes"): probe.peak_rss_bytes,
            ("ladder", "seconds"): ladder.wall_s,
            ("ladder", "bytes"): ladder.peak_rss_bytes,
            # A rung that was cut short took what it was given, which says nothing of the estimate.
            **{(f"rung {r.name}", "seconds"): r.seconds for r in record.rungs if r.n_steps and not r.notes},
        }
        for one in told["forecasts"]:
            key = one["name"], one["unit"]
            if key in came:
                yield _Held(f"{name}, {budget}", one["name"], one["unit"], one["low"], one["high"], came[key])


def _fit(place: Place, data: Path, words: tuple[str, ...]) -> Ended:
    run([*TOPWORK, "cache", "clear"], place.env())
    out = str(place.temporary / "estimated.topwork")
    return run([*TOPWORK, "fit", str(data), *words, "--out", out], place.env())
