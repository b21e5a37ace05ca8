"""Every recipe on the same photos and on the same reviews, with the same time: which one to take, and what it costs.

Big Transfer's rule asks for 500 steps of 512 pictures at least, which is hours here: it is scaled down to the time, and
labelled so.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Goal, Spread, Table
from benchmarks.place import Place
from benchmarks.processes import TOPWORK, run
from benchmarks.results import Section
from benchmarks.text_splits import drawn, reviews
from topwork.bundle import open_bundle
from topwork.contracts import FitRecord

_OURS = "ladder"
"""What a fit does that names no recipe."""
RECIPES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("probe", "head", "contrast", _OURS, "full", "lora", "gradual", "hyperrule"), ()),
    "hyperrule, the rule's size": ("--set", "resize=rule"),
}
"""What stands in the table, by recipe, and what is asked besides."""
_FIRST = "probe"
_BUDGET, _QUICK_BUDGET = "60s", "15s"
_REVIEWS, _QUICK_REVIEWS = (1000, 200, 800), (60, 40, 120)
"""Texts that test, validate and are trained on."""
_MOST_BEHIND_POINTS = -2.0
_SCALED = re.compile(r"its ([\d,]+) steps are scaled to ([\d,]+)")


@dataclass(frozen=True, slots=True)
class Fits:
    """What one recipe came to on one data set, a record and the seconds of the command for each split."""

    recipe: str
    records: tuple[FitRecord, ...]
    wall_s: tuple[float, ...]

    @property
    def accuracy(self) -> Spread:
        """Of the tests, in percent."""
        return Spread(tuple(100 * one for one in self._test("accuracy")))

    @property
    def log_loss(self) -> Spread:
        """Of the tests, in nats."""
        return Spread(self._test("log_loss"))

    @property
    def name(self) -> str:
        """The recipe, and how much of its rule there was time for where it says so."""
        found = [_SCALED.search(note) for note in self.records[0].notes]
        scaled = next((f", scaled down to {one[2]} of {one[1]} steps" for one in found if one), "")
        return f"{self.recipe}{scaled}"

    def _test(self, metric: str) -> tuple[float, ...]:
        return tuple(result.test[metric].value for one in self.records for result in one.targets.values())


def measure(place: Place) -> Section:
    """Fit every recipe on every split of either data set."""
    sets = {"chess photos": _photos(place), "short film reviews": _reviews(place)}
    found = {name: _all_recipes(place, name, data) for name, data in sets.items()}
    return Section(
        name="recipes",
        title="Every recipe, with the same time",
        goals=tuple(goal_of(name, fits) for name, fits in found.items()),
        tables=tuple(table_of(name, fits) for name, fits in found.items()),
        notes=(
            f"`topwork fit --recipe NAME --budget {_budget(place)} --proof none`, default "
            "trunks and settings, weights cached, features not; the same splits for all. Of each recipe the mean over "
            "the splits, with the smallest and largest, and the mean of the differences to the probe.",
            "Reviews are those of Rotten Tomatoes: "
            + ", ".join(
                f"{n:,} {what}"
                for n, what in zip(_REVIEWS, ("to test", "to validate", "to fit"), strict=True)
            )
            + ".",
        ),
    )


def _photos(place: Place) -> Callable[[int], Path]:
    photos = place.photos()
    return lambda _: photos


def _reviews(place: Place) -> Callable[[int], Path]:
    rows = reviews(place, "rotten_tomatoes")
    n_test, n_valid, n_train = _QUICK_REVIEWS if place.is_quick else _REVIEWS

    def table(seed: int) -> Path:
        split = drawn("rotten_tomatoes", rows, seed, n_test=n_test, n_valid=n_valid, n_train=n_train)
        return split.write_table(place.temporary)

    return table


def _all_recipes(place: Place, name: str, data: Callable[[int], Path]) -> tuple[Fits, ...]:
    """Go through the recipes split by split, so that what the machine does meanwhile meets all of them."""
    found: dict[str, list[tuple[FitRecord, float]]] = {recipe: [] for recipe in RECIPES}
    for seed in place.seeds(name):
        for recipe, fits in found.items():
            fits.append(_fit(place, data(seed), recipe, seed))
    return tuple(
        Fits(recipe, tuple(record for record, _ in fits), tuple(wall_s for _, wall_s in fits))
        for recipe, fits in found.items()
    )


def _fit(place: Place, data: Path, recipe: str, seed: int) -> tuple[FitRecord, float]:
    run([*TOPWORK, "cache", "clear"], place.env())
    bundle = place.temporary / f"{recipe}.topwork"
    which = ["--recipe", recipe.partition(",")[0], *RECIPES[recipe], "--budget", _budget(place)]
    asked = [*which, "--seed", str(seed), "--proof", "none", "--out", str(bundle)]
    wall_s = run([*TOPWORK, "fit", str(data), *asked], place.env()).wall_s
    record = open_bundle(bundle).record()
    bundle.unlink()
    print(f"  {data.stem}, split {seed}, {recipe}: {wall_s:.0f} s", flush=True)
    return record, wall_s


def _budget(place: Place) -> str:
    return _QUICK_BUDGET if place.is_quick else _BUDGET


# --- what is told of it -----------------------------------------------------------------------------------


def goal_of(name: str, fits: Sequence[Fits]) -> Goal:
    """Return what is promised: nobody who names no recipe loses much to one who knows which is the best."""
    means = {one.recipe: statistics.fmean(one.accuracy.values) for one in fits}
    ahead = means.pop(_OURS) - max(means.values())
    what = f"{name}: mean test accuracy of the default, the {_OURS}, minus that of the best other recipe,"
    return Goal(what, Spread((ahead,)), "at least", _MOST_BEHIND_POINTS, "points", 1)


def table_of(name: str, fits: Sequence[Fits]) -> Table:
    """Return a row for each recipe."""
    head = (name, "splits", "test, %", "minus the probe's, points", "log loss, nats", "command, s")
    probe = fits[0].accuracy.values
    return Table(head, [_row(one, probe) for one in fits])


def _row(one: Fits, probe: Sequence[float]) -> tuple[str, ...]:
    gains = Spread(tuple(own - other for own, other in zip(one.accuracy.values, probe, strict=True)))
    return (
        f"**{one.name}**" if one.recipe == _OURS else one.name,
        str(len(one.records)),
        _mean(one.accuracy, 1),
        "" if one.recipe == _FIRST else _mean(gains, 1),
        _mean(one.log_loss, 2),
        _mean(Spread(one.wall_s), 0),
    )


def _mean(spread: Spread, n_digits: int) -> str:
    """Return the mean, and the smallest and largest value where there are several."""
    middle = f"{statistics.fmean(spread.values):.{n_digits}f}"
    if len(spread.values) == 1:
        return middle
    return f"{middle} ({min(spread.values):.{n_digits}f} to {max(spread.values):.{n_digits}f})"
