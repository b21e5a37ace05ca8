"""Peak memory of a whole fit on few and on many pictures, and what each further picture costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Goal, Spread, Table
from benchmarks.generated import CLASSES, write_photos
from benchmarks.place import Place
from benchmarks.processes import PROBE_ALONE, TOPWORK, Ended, run
from benchmarks.results import Section
from topwork.engines.machine import survey

_FEW, _MANY = 1_000, 20_000
_N_RUNS = {_FEW: 3, _MANY: 1}
_QUICK = {200: 2, 1_000: 1}


@dataclass(frozen=True, slots=True)
class _Size:
    """Fits on so many pictures, none of whose features was cached."""

    n: int
    n_bytes: float
    fits: tuple[Ended, ...]

    @property
    def peak_mb(self) -> Spread:
        return Spread(tuple(fit.peak_rss_bytes / 1e6 for fit in self.fits))

    @property
    def wall_s(self) -> Spread:
        return Spread(tuple(fit.wall_s for fit in self.fits))


def measure(place: Place) -> Section:
    """Fit at each size."""
    run(
        [*TOPWORK, "fit", str(place.photos()), *PROBE_ALONE, "--out", str(place.temporary / "c.topwork")],
        place.env(),
    )
    sizes = [_fits(place, n, runs) for n, runs in (_QUICK if place.is_quick else _N_RUNS).items()]
    few, many = sizes
    slope = Spread(
        tuple((many.peak_mb.median - peak) * 1000 / (many.n - few.n) for peak in few.peak_mb.values)
    )
    rows = [(f"{s.n:,}", f"{s.n_bytes / 1000:.1f}", s.peak_mb.shown(0), s.wall_s.shown(1)) for s in sizes]
    return Section(
        name="memory",
        title="Memory of a fit",
        goals=(Goal("each picture beyond the first thousand costs", slope, "at most", 12, "kB", 1),),
        tables=(Table(("pictures", "kB per file", "peak resident, MB", "command, s"), rows),),
        notes=(
            f"Generated JPEGs, all different, {len(CLASSES)} classes, `--recipe probe --proof none`, the "
            "default trunk with its weights cached and features not. The peak is the largest resident set of the "
            "process, as the kernel counts it.",
            "Of each picture 5.1 kB are its 1,280 features and 1.2 kB its fingerprint.",
        ),
    )


def _fits(place: Place, n: int, n_runs: int) -> _Size:
    folder = write_photos(place.temporary / f"pictures-{n}", n, survey().n_cores)
    sizes = [path.stat().st_size for path in folder.rglob("*.jpg")]
    return _Size(
        n, sum(sizes) / len(sizes), tuple(_fit(place, folder) for _ in place.rounds(n_runs, f"{n} pictures"))
    )


def _fit(place: Place, folder: Path) -> Ended:
    run([*TOPWORK, "cache", "clear"], place.env())
    out = place.temporary / "generated.topwork"
    return run([*TOPWORK, "fit", str(folder), *PROBE_ALONE, "--out", str(out)], place.env())
