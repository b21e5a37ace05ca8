"""A few examples of each class: ours beside SetFit with the same encoder, on short film reviews.

8, 16 and 64 of each class are drawn from Rotten Tomatoes, the same for both sides; both are asked about the same test
texts. `fewshot_imdb` does the same with long reviews, on which SetFit takes hours.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.environments import interpreter
from benchmarks.figures import Goal, Spread, Table
from benchmarks.place import Place
from benchmarks.processes import MALLOC_TUNED, ROOT, run_side
from benchmarks.results import Section
from benchmarks.text_sides import TRUNK
from benchmarks.text_splits import Review, Source, TextSplit, drawn, reviews

REQUIREMENTS = ("setfit==1.1.3", "sentence-transformers==5.1.2", "transformers==4.57.1", "torch==2.13.0")

_QUICK_SHOTS = (8,)
_N_SEEDS = 20
_N_TEST, _QUICK_N_TEST = 1000, 40
_MOST_BEHIND_POINTS, _LEAST_TIMES = -1.0, 10.0


@dataclass(frozen=True, slots=True)
class Round:
    """What both sides came to on one data set with so many examples of each class; a value for each draw.

    Attributes
    ----------
    ours, theirs
        Share of the test that was right, 0 to 1.
    ours_s, theirs_s
        Seconds of learning.
    """

    source: Source
    n_shots: int
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    ours_s: tuple[float, ...]
    theirs_s: tuple[float, ...]

    @property
    def name(self) -> str:
        """What was learned from."""
        return f"{self.source}, {self.n_shots} of each class"

    @property
    def gains(self) -> tuple[float, ...]:
        """Ours minus theirs in points, draw by draw."""
        return tuple(100 * (a - b) for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def faster(self) -> Spread:
        """Their seconds over ours, draw by draw."""
        return Spread(tuple(b / a for a, b in zip(self.ours_s, self.theirs_s, strict=True)))


def measure(place: Place) -> Section:
    """Go through all numbers of examples of Rotten Tomatoes."""
    return of_source(place, "rotten_tomatoes", "fewshot", "A few short film reviews of each class")


def of_source(place: Place, source: Source, name: str, title: str) -> Section:
    """Go through all numbers of examples of one data set."""
    shots = _QUICK_SHOTS if place.is_quick else place.shots
    rounds = [_round(place, source, n) for n in shots]
    return Section(
        name=name,
        title=title,
        goals=[goal for one in rounds for goal in goals_of(one)],
        tables=(table_of(rounds),),
        notes=(
            f"The same encoder ({TRUNK}), the same draws, {_N_TEST:,} test texts. SetFit runs as it comes, in fp32 and "
            "an environment of its own; ours is the recipe contrast, which is the first rung of a fit of few texts.",
            "Seconds are those of learning: the process is running, libraries and network are loaded on both sides.",
        ),
    )


def few_of_each(split: TextSplit, n_shots: int) -> TextSplit:
    """Return the split with the first so many training texts of each label."""
    few = [row for label in split.labels for row in [r for r in split.train if r[1] == label][:n_shots]]
    order = np.random.default_rng(split.seed).permutation(len(few)).tolist()
    return replace(split, name=f"{split.name}-{n_shots}", train=tuple(few[place] for place in order))


def _round(place: Place, source: Source, n_shots: int) -> Round:
    n_seeds = 1 if place.is_quick else _N_SEEDS
    rows, n_test = reviews(place, source), _QUICK_N_TEST if place.is_quick else _N_TEST
    splits = [few_of_each(_draw(source, rows, seed, n_test), n_shots) for seed in range(n_seeds)]
    paths = [str(split.write(place.temporary)) for split in splits]
    print(f"{source}, {n_shots} of each class, {n_seeds} draws", flush=True)
    network = place.temporary / TRUNK
    encoder = {"cache": str(place.topwork_cache), "out": str(network)}
    window = run_side("encoder_side", encoder).last_json()["window"]
    own = {"splits": paths, "cache": str(place.topwork_cache), "recipe": "contrast"}
    ours = run_side("fewshot_side", own, MALLOC_TUNED).last_json()
    asked = {
        "splits": paths,
        "network": str(network),
        "window": window,
        "folder": str(place.temporary / "setfit"),
        "settings": {},
    }
    python = str(interpreter(place.cache / "setfit", REQUIREMENTS))
    env = {"PYTHONPATH": str(ROOT), **MALLOC_TUNED}
    theirs = run_side("setfit_side", asked, env, python=python).last_json()
    right = [
        [_share(split, one["answers"]) for split, one in zip(splits, side, strict=True)]
        for side in (ours, theirs)
    ]
    seconds = [tuple(one["seconds"] for one in side) for side in (ours, theirs)]
    found = Round(source, n_shots, tuple(right[0]), tuple(right[1]), *seconds)
    print(
        f"  ours {np.mean(found.ours):.1%}, SetFit {np.mean(found.theirs):.1%}, {found.faster.shown(1)} times sooner"
    )
    return found


def _draw(source: Source, rows: Sequence[Review], seed: int, n_test: int) -> TextSplit:
    """Draw a test that is the same for all seeds, and training texts by the seed."""
    fixed = drawn(source, rows, 0, n_test=n_test, n_valid=0, n_train=len(rows) - n_test)
    order = np.random.default_rng(seed).permutation(len(fixed.train)).tolist()
    return replace(fixed, seed=seed, train=tuple(fixed.train[place] for place in order))


def _share(split: TextSplit, answers: Sequence[str]) -> float:
    truth = [label for _, label in split.test]
    return sum(a == b for a, b in zip(answers, truth, strict=True)) / len(truth)


# --- what is told of it -----------------------------------------------------------------------------------


def goals_of(one: Round) -> tuple[Goal, Goal]:
    """Return what is promised of a round."""
    gain = Spread((statistics.fmean(one.gains),))
    what = f"{one.name}: mean test accuracy, ours minus SetFit's,"
    return (
        Goal(what, gain, "at least", _MOST_BEHIND_POINTS, "points", 1),
        Goal(f"{one.name}: learned", one.faster, "at least", _LEAST_TIMES, "times sooner", 1),
    )


def table_of(rounds: Sequence[Round]) -> Table:
    """Return a row for each round."""
    head = (
        "learned from", "draws", "ours, %", "SetFit, %", "ours minus theirs, points", "95 % interval",
        "ours, s", "SetFit, s",
    )  # fmt: skip
    return Table(head, [_row(one) for one in rounds])


def _row(one: Round) -> tuple[str, ...]:
    gains = np.array(one.gains)
    error = 1.96 * gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else float("nan")
    return (
        one.name,
        str(len(gains)),
        f"{100 * statistics.fmean(one.ours):.1f}",
        f"{100 * statistics.fmean(one.theirs):.1f}",
        f"{gains.mean():+.1f}",
        f"{gains.mean() - error:+.1f} to {gains.mean() + error:+.1f}",
        Spread(one.ours_s).shown(2),
        Spread(one.theirs_s).shown(1),
    )
