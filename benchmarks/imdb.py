"""20,000 film reviews in minutes: the ladder beside TF-IDF, and over time beside Hugging Face's ``Trainer``.

All sides have the same network, weights, precision, rows, length of a window and time. The split is fixed: 5,000
reviews are the test, 4,000 of the others validate. ``Trainer`` runs as it comes, and with the best of a few settings,
found by its own validation on fewer rows; its number of epochs is then such that its schedule ends with its time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.curves import best_so_far, draw
from benchmarks.figures import Goal, Spread, Table
from benchmarks.ladder import moments
from benchmarks.learning import Learned, Moment, difference, share_right
from benchmarks.place import Place
from benchmarks.processes import MALLOC_TUNED, ROOT, TOPWORK, run, run_side
from benchmarks.results import Section
from benchmarks.text_sides import TRUNK, TrainerSettings
from benchmarks.text_splits import TextSplit, drawn, reviews
from topwork import load
from topwork.bundle import open_bundle
from topwork.contracts import Comparison, Estimate, FitRecord
from topwork.engines.machine import survey
from topwork.steps.material import resources_of

_PICTURE = "reviews_over_time.svg"
_SIDES, _QUICK_SIDES = (5000, 4000, 16_000), (60, 60, 200)
"""Texts that test, validate and are trained on."""
_BUDGET, _QUICK_BUDGET = "22m", "40s"
_LIMIT_S, _QUICK_LIMIT_S = 1320.0, 60.0
_PROMISED_MIN = 60
_TRY_ROWS, _QUICK_TRY_ROWS = 1000, 100
_N_LOOKED = 1000
_LOOK_EVERY, _QUICK_LOOK_EVERY = 1600, 64
"""Texts that ``Trainer`` is trained on between two looks at validation."""
_MOST_EPOCHS = 3.0
_TUNED = tuple(
    TrainerSettings(rate=rate, batch=32, n_epochs=2, is_grouped=True, warmup=0.06)
    for rate in (5e-5, 1e-4, 2e-4)
)


@dataclass(frozen=True, slots=True)
class Fit:
    """One `topwork fit`: what it learned, what it wrote down, and seconds of the whole command."""

    learned: Learned
    record: FitRecord
    wall_s: float

    @property
    def beside_words(self) -> Comparison:
        """The comparison with a linear model on words."""
        (target,) = self.record.targets.values()
        (words,) = [one for one in target.comparisons if one.name == "classical baseline"]
        return words


def measure(place: Place) -> Section:
    """Fit ours, then `Trainer` as it comes and with its best settings."""
    n_test, n_valid, n_train = _QUICK_SIDES if place.is_quick else _SIDES
    split = drawn("imdb", reviews(place, "imdb"), 0, n_test=n_test, n_valid=n_valid, n_train=n_train)
    ours = _ours(place, split)
    peer = Trainer.of(place)
    settings = {"Trainer as it comes": TrainerSettings(), "Trainer, tuned": peer.best(split)}
    theirs = {name: peer.fit(split, one) for name, one in settings.items()}
    return Section(
        name="imdb",
        title="20,000 film reviews in minutes",
        goals=_goals(ours, theirs),
        tables=(_table(ours, theirs, settings),),
        notes=_notes(peer),
        pictures={_PICTURE: draw(_curves(ours, theirs))},
    )


def _ours(place: Place, split: TextSplit) -> Fit:
    """Fit with the default trunk for texts, nothing of the texts cached; then answer the test."""
    run([*TOPWORK, "cache", "clear"], place.env())
    bundle = place.temporary / "imdb.topwork"
    budget = _QUICK_BUDGET if place.is_quick else _BUDGET
    asked = ["--recipe", "ladder", "--budget", budget, "--proof", "quick", "--out", str(bundle)]
    wall_s = run([*TOPWORK, "fit", str(split.write_table(place.temporary)), *asked], place.env()).wall_s
    record = open_bundle(bundle).record()
    said = load(bundle).predict([text for text, _ in split.test])
    answers = {str(number): str(one.label) for number, one in enumerate(said)}
    return Fit(Learned(moments(record), answers, split.truth), record, wall_s)


@dataclass(frozen=True, slots=True)
class Trainer:
    """Hugging Face's ``Trainer`` in topwork's own environment, in processes of its own."""

    place: Place
    network: Path
    window: int

    @classmethod
    def of(cls, place: Place) -> Trainer:
        """Write topwork's own trunk where the library can load it."""
        folder = place.temporary / TRUNK
        written = run_side(
            "encoder_side", {"cache": str(place.topwork_cache), "out": str(folder)}
        ).last_json()
        return cls(place, folder, written["window"])

    def best(self, split: TextSplit) -> TrainerSettings:
        """Try settings on fewer rows and return those whose validation was the best."""
        n_rows = _QUICK_TRY_ROWS if self.place.is_quick else _TRY_ROWS
        few = replace(split, name="few", train=split.train[:n_rows], test=split.test[:1])
        tries = _TUNED[:1] if self.place.is_quick else _TUNED
        found = {settings: self.fit(few, settings) for settings in tries}
        best = max(found, key=lambda settings: found[settings].best.accuracy)
        return replace(
            best, n_epochs=self._epochs_in_time(found[best], n_rows * best.n_epochs, len(split.train))
        )

    def _epochs_in_time(self, tried: Learned, n_tried: float, n_train: int) -> float:
        """Return as many epochs as there is time for, at the pace at which a try was trained on so many texts."""
        per_text_s = (tried.moments[-1].seconds - tried.before_s) / n_tried
        return round(min(_MOST_EPOCHS, (self._limit_s - tried.before_s) / (per_text_s * n_train)), 2)

    @property
    def _limit_s(self) -> float:
        return _QUICK_LIMIT_S if self.place.is_quick else _LIMIT_S

    def fit(self, split: TextSplit, settings: TrainerSettings) -> Learned:
        """Fit once, malloc tuned."""
        quick = self.place.is_quick
        asked = {
            "network": str(self.network),
            "settings": asdict(settings),
            "split": str(split.write(self.place.temporary)),
            "folder": str(self.place.temporary / "trainer"),
            "seed": split.seed,
            "is_bf16": resources_of(survey()).has_fast_bf16,
            "n_looked": _N_LOOKED,
            "look_every": _QUICK_LOOK_EVERY if quick else _LOOK_EVERY,
            "limit_s": self._limit_s,
            "began_s": time.time(),
        }
        found = run_side("trainer_side", asked, {"PYTHONPATH": str(ROOT / "src"), **MALLOC_TUNED}).last_json()
        learned = Learned(tuple(Moment(*one) for one in found.pop("moments")), truth=split.truth, **found)
        best = learned.best
        print(f"  Trainer, {settings.shown()}: validation {best.accuracy:.1%} after {best.seconds:.0f} s")
        return learned


# --- what is told of it -----------------------------------------------------------------------------------


def _goals(ours: Fit, theirs: Mapping[str, Learned]) -> list[Goal]:
    ahead = ours.beside_words.difference["accuracy"]
    goals = [
        Goal(
            "the whole command, the proof with TF-IDF included,",
            Spread((ours.wall_s / 60,)),
            "at most",
            _PROMISED_MIN,
            "min",
        ),
        Goal(
            "lower end of the paired interval of test accuracy, ours minus TF-IDF's,",
            Spread((100 * ahead.low,)),
            "above",
            0,
            "points",
        ),
    ]
    for name, learned in theirs.items():
        least = Spread((100 * least_lead(ours.learned.moments, learned.moments),))
        what = f"against {name}: least lead in the best validation accuracy so far, at any time,"
        goals.append(Goal(what, least, "above", 0, "points", 1))
    return goals


def least_lead(ours: Sequence[Moment], theirs: Sequence[Moment]) -> float:
    """Return our best accuracy so far minus theirs at the moment at which that is least, -1 to 1."""
    seconds = {moment.seconds for moment in (*ours, *theirs)}
    return min(best_so_far(ours, at_s) - best_so_far(theirs, at_s) for at_s in seconds)


def _curves(ours: Fit, theirs: Mapping[str, Learned]) -> dict[str, list[tuple[Moment, ...]]]:
    return {"topwork": [ours.learned.moments]} | {name: [one.moments] for name, one in theirs.items()}


def _table(ours: Fit, theirs: Mapping[str, Learned], settings: Mapping[str, TrainerSettings]) -> Table:
    head = ("side", "best validation, %", "after, s", "test, %", "ours minus theirs, points", "95 % interval")
    rungs = ", ".join(f"**{rung.name}**" if rung.chosen else rung.name for rung in ours.record.rungs)
    words = ours.beside_words
    rows = [
        (f"topwork, ladder: {rungs}", *_fitted(ours.learned), "", ""),
        (
            "TF-IDF",
            "",
            "",
            f"{100 * words.metrics['accuracy'].value:.1f}",
            *_apart(words.difference["accuracy"]),
        ),
    ]
    for name, learned in theirs.items():
        apart = difference([(ours.learned, learned)])
        rows.append((f"{name}: {settings[name].shown()}", *_fitted(learned), *_apart(apart)))
    return Table(head, rows)


def _fitted(learned: Learned) -> tuple[str, str, str]:
    best = learned.best
    return f"{100 * best.accuracy:.1f}", f"{best.seconds:.0f}", f"{100 * share_right(learned):.1f}"


def _apart(ahead: Estimate) -> tuple[str, str]:
    return f"{100 * ahead.value:+.1f}", f"{100 * ahead.low:+.1f} to {100 * ahead.high:+.1f}"


def _notes(peer: Trainer) -> tuple[str, ...]:
    return (
        "Seconds count from the start of the process, nothing of the texts cached. Looks on the way are at "
        f"{_N_LOOKED:,} validation rows on every side.",
        f"A window has {peer.window} tokens on every side. `Trainer` cuts a longer review off there, ours takes the "
        "mean over all of its windows.",
        f"Ours has a budget of {_BUDGET}. `Trainer` computes in the same precision and ends after as long; the weights "
        f"are its last ones. Its tuned settings are those of {len(_TUNED)} that validate best when trained on "
        f"{_TRY_ROWS:,} reviews, with as many epochs as its time allows, so that its rate has gone down to zero at the "
        "end; the tries are not counted.",
        "The classical baseline is TF-IDF of words and pairs of words with logistic regression, its strength chosen on "
        "validation rows. Intervals are paired, review by review.",
    )
