"""The ladder on photos of chess pieces: how good the model is that two minutes give.

Five splits, each fitted by `topwork fit` as a process of its own; the answers on all five tests are counted together.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.figures import Goal, Spread, Table
from benchmarks.learning import Learned, Moment, pooled, share_right
from benchmarks.place import Place
from benchmarks.processes import TOPWORK, run
from benchmarks.results import Section
from benchmarks.splits import PhotoSplit, require_same_test, split_photos
from topwork.bundle import open_bundle
from topwork.contracts import Chart, FitRecord

__all__ = ["BUDGET", "LadderFit", "fit", "moments", "words"]

BUDGET = "2m"
_QUICK_BUDGET = "20s"
_OVER_TIME = "Validation over time"
_PROMISED_PERCENT = 80


@dataclass(frozen=True, slots=True)
class LadderFit:
    """One `topwork fit`: what it learned, what it wrote down, and seconds of the whole command."""

    learned: Learned
    record: FitRecord
    wall_s: float

    @property
    def rungs(self) -> str:
        """Names of the rungs that were climbed, the chosen one in bold."""
        return ", ".join(f"**{rung.name}**" if rung.chosen else rung.name for rung in self.record.rungs)


def measure(place: Place) -> Section:
    """Fit each split once, with nothing of the photos cached."""
    photos = place.photos()
    fits = [fit(place, split_photos(photos, seed)) for seed in place.seeds("ladder")]
    accuracy = pooled([one.learned for one in fits])
    interval = f"{100 * accuracy.low:.1f}–{100 * accuracy.high:.1f}"
    what = f"test accuracy, all splits together (95 % interval {interval}),"
    return Section(
        name="ladder",
        title="The ladder on chess photos",
        goals=(Goal(what, Spread((100 * accuracy.value,)), "at least", _PROMISED_PERCENT, "%", 1),),
        tables=(_table(fits),),
        notes=(
            f"`topwork fit {' '.join(words(place))}` with the default trunk, its weights cached, features not.",
            f"{sum(len(one.learned.truth) for one in fits)} answers in all. The interval is Wilson's and "
            "takes the answers for independent; a photo can stand in the test of several splits.",
        ),
    )


def fit(place: Place, split: PhotoSplit) -> LadderFit:
    """Run the command, make sure that it was tested on the split's photos, and ask its bundle about them."""
    run([*TOPWORK, "cache", "clear"], place.env())
    bundle = place.temporary / f"{split.photos.name}-{split.seed}.topwork"
    asked = [*words(place), "--seed", str(split.seed), "--out", str(bundle), "--json"]
    command = [*TOPWORK, "fit", str(split.photos), *asked]
    wall_s = run(command, place.env()).wall_s
    require_same_test(split, bundle)
    record = open_bundle(bundle).record()
    predicted = run([*TOPWORK, "predict", str(bundle), *split.truth, "--json"], place.env())
    answers = [json.loads(line) for line in predicted.stdout.splitlines()]
    learned = Learned(moments(record), {one["input"]: one["label"] for one in answers}, split.truth)
    return LadderFit(learned, record, wall_s)


def words(place: Place) -> tuple[str, ...]:
    """Return the options that decide what is fitted; the proof comes after the fit and does not change it."""
    return ("--recipe", "ladder", "--budget", _QUICK_BUDGET if place.is_quick else BUDGET, "--proof", "none")


def moments(record: FitRecord) -> tuple[Moment, ...]:
    """Read validation accuracy over time from a record; it is the first model alone where nothing was trained.

    The record's chart counts from when fitting began; a moment counts from the start of the process.
    """
    first = record.rungs[0]
    before_s = record.seconds_to_first_model - first.seconds
    charts = [one for one in record.sections if isinstance(one, Chart) and one.title == _OVER_TIME]
    points = [point for chart in charts for series in chart.series for point in series.points]
    found = [Moment(before_s + point.x, point.y) for point in sorted(points, key=lambda point: point.x)]
    return tuple(found) or (Moment(record.seconds_to_first_model, first.validation),)


def _table(fits: Sequence[LadderFit]) -> Table:
    rows = [
        (
            one.record.settings["seed"],
            one.rungs,
            f"{100 * one.learned.best.accuracy:.1f}",
            f"{100 * share_right(one.learned):.1f}",
            f"{one.record.seconds_to_first_model:.1f}",
            f"{one.wall_s:.1f}",
        )
        for one in fits
    ]
    head = (
        "split",
        "rungs, the chosen one bold",
        "best validation, %",
        "test, %",
        "first model, s",
        "command, s",
    )
    return Table(head, rows)
