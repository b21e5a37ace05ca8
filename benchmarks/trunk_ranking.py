"""Whether what `--trunk auto` goes by foretells which trunk makes the better probe on photos it was not chosen on.

The four image trunks of the catalogue on several real data sets, several splits of each. Scores are those of the
command, from a sample of the training rows; what they are held against is the test accuracy of a probe on all training
rows with each of the trunks, averaged over the splits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.figures import Goal, Spread, Table
from benchmarks.picture_sets import picture_sets
from benchmarks.place import Place
from benchmarks.processes import PROBE_ALONE, TOPWORK, run
from benchmarks.rankings import kendall, spearman
from benchmarks.results import Section

TRUNKS = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "mobilenet-v2")
_PROMISED = 0.6
_REFEREE = "probe's held-out loss"
_SCORES: Mapping[str, Callable[[Mapping[str, Any]], float]] = {
    "LogME": lambda tried: float(tried["log_me"]),
    "H-score": lambda tried: float(tried["h_score"]),
    _REFEREE: lambda tried: -float(tried["loss"]["value"]),
}
"""Of each, more is better."""


@dataclass(frozen=True, slots=True)
class _Split:
    """One split of a data set: test accuracies by trunk, scores by name and trunk, and the trunk that was chosen."""

    accuracy: Mapping[str, float]
    scores: Mapping[str, Mapping[str, float]]
    chosen: str
    n_train: int


@dataclass(frozen=True, slots=True)
class _Set:
    """All splits of one data set."""

    name: str
    splits: Sequence[_Split] = field(default_factory=tuple)

    def truth(self) -> list[float]:
        """Return the mean test accuracy of each trunk, 0 to 1."""
        return [fmean(one.accuracy[trunk] for one in self.splits) for trunk in TRUNKS]

    def agreement(self, score: str, measure: Callable[[Sequence[float], Sequence[float]], float]) -> Spread:
        """Return the rank correlation of a score with the mean test accuracies, split by split."""
        found = [[one.scores[score][trunk] for trunk in TRUNKS] for one in self.splits]
        return Spread(tuple(measure(values, self.truth()) for values in found))

    def behind(self) -> Spread:
        """Return how many points of mean test accuracy the chosen trunk is behind the best, split by split."""
        truth = dict(zip(TRUNKS, self.truth(), strict=True))
        return Spread(tuple(100 * (max(truth.values()) - truth[one.chosen]) for one in self.splits))


def measure(place: Place) -> Section:
    """Fit every trunk on every split, and let the command choose once on each."""
    found = [
        _Set(name, tuple(_split(place, data, seed) for seed in place.seeds(name)))
        for name, data in picture_sets(place).items()
    ]
    means = Spread(tuple(fmean(one.agreement(_REFEREE, spearman).values) for one in found))
    average = Spread((fmean(means.values),))
    return Section(
        name="trunk_ranking",
        title="Ranking trunks before a fit",
        goals=(
            Goal(
                f"rank correlation of the {_REFEREE}, averaged over the sets,",
                average,
                "at least",
                _PROMISED,
                "",
            ),
        ),
        tables=(_accuracies(found), _agreements(found)),
        notes=_notes(found),
    )


def _split(place: Place, data: Path, seed: int) -> _Split:
    accuracy = {
        trunk: _accuracy(_fit(place, data, seed, trunk)) for trunk in TRUNKS
    }  # first, so that every weight is here
    said = _fit(place, data, seed, f"auto:{','.join(TRUNKS)}")
    tried = {one["name"]: one for one in said["trunk_choice"]["tried"]}
    scores = {name: {trunk: score(tried[trunk]) for trunk in TRUNKS} for name, score in _SCORES.items()}
    return _Split(accuracy, scores, str(said["trunk"]), int(said["n_train"]))


def _fit(place: Place, data: Path, seed: int, trunk: str) -> Any:
    words = ["--trunk", trunk, "--seed", str(seed), "--out", str(place.temporary / "ranked.topwork")]
    return run([*TOPWORK, "fit", str(data), *PROBE_ALONE, *words, "--json", "-q"], place.env()).last_json()


def _accuracy(said: Mapping[str, Any]) -> float:
    (target,) = said["targets"].values()
    return float(target["test"]["accuracy"]["value"])


def _accuracies(found: Sequence[_Set]) -> Table:
    rows = []
    for one in found:
        shown = (Spread(tuple(100 * s.accuracy[trunk] for s in one.splits)).shown(1) for trunk in TRUNKS)
        rows.append((one.name, f"{one.splits[0].n_train:,}", *shown, one.behind().shown(1)))
    head = (
        "test accuracy of a probe, %",
        "photos to fit",
        *TRUNKS,
        "the chosen one is behind the best, points",
    )
    return Table(head, rows)


def _agreements(found: Sequence[_Set]) -> Table:
    rows = []
    for score in _SCORES:
        for name, kind in (("Spearman", spearman), ("Kendall", kendall)):
            spreads = [one.agreement(score, kind) for one in found]
            average = fmean(fmean(spread.values) for spread in spreads)
            rows.append((score, name, *(_mean_shown(spread) for spread in spreads), f"{average:.2f}"))
    return Table(("score", "rank correlation", *(one.name for one in found), "average"), rows)


def _mean_shown(spread: Spread) -> str:
    """Return the mean, for an average is what was promised, with the smallest and largest value."""
    return f"{fmean(spread.values):.2f} ({min(spread.values):.2f}–{max(spread.values):.2f})"


def _notes(found: Sequence[_Set]) -> tuple[str, ...]:
    chosen = {
        one.name: ", ".join(
            f"{[s.chosen for s in one.splits].count(t)} × {t}"
            for t in TRUNKS
            if any(s.chosen == t for s in one.splits)
        )
        for one in found
    }
    return (
        "`topwork fit --recipe probe --proof none` with each trunk, and once with `--trunk auto` naming all four, "
        "whose `trunk_choice` holds the scores. A cell of correlations is the mean over the splits, with the smallest "
        "and largest value.",
        "Scores of one split are held against test accuracies averaged over all splits: those of a single one "
        "differ by luck as much as trunks do.",
        "Chosen: " + "; ".join(f"{name}: {what}" for name, what in chosen.items()) + ".",
    )
