"""A few examples of each class: ours beside SetFit with the same encoder, on short film reviews.

8, 16 and 64 of each class are drawn from Rotten Tomatoes, the same for both sides; both are asked about the same test
texts. `fewshot_imdb` does the same with long reviews. SetFit takes minutes for a draw there, and for one of 64 short
ones: a run that is cut off is gone on with by the next, see `_Sides._kept`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

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
_FIRST_TRY, _N_TRIES, _TRY_SHOTS = 1000, 4, 8
_N_TEST, _QUICK_N_TEST = 1000, 40
_MOST_BEHIND_POINTS, _TIMES = -1.0, 10.0
_OURS = ("probe", "contrast")
"""Recipes whose models a fit of few texts has first, one after the other."""
_Settings: TypeAlias = tuple[tuple[str, float], ...]
"""Of SetFit's ``TrainingArguments``, by name; nothing for all of its defaults."""
_AS_IT_COMES: _Settings = ()
_SETTINGS: tuple[_Settings, ...] = (
    _AS_IT_COMES,
    (("num_epochs", 3),),
    (("body_learning_rate", 1e-4),),
    (("num_iterations", 20),),
)


@dataclass(frozen=True, slots=True)
class Learner:
    """What one model came to, a value for each draw: the share of the test that was right, and seconds of learning."""

    shares: tuple[float, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """What both sides came to on one data set with so many examples of each class.

    Attributes
    ----------
    peer
        How SetFit was set.
    ours
        The models that a fit makes one after the other, by their names.
    """

    source: Source
    n_shots: int
    peer: str
    ours: Mapping[str, Learner]
    theirs: Learner

    @property
    def name(self) -> str:
        """What was learned from."""
        return f"{self.source}, {self.n_shots} of each class"

    @property
    def in_time(self) -> tuple[float, ...]:
        """Share of the test that our last model is right on that stands after a tenth of their time; 0 without one."""
        found = []
        for draw, theirs_s in enumerate(self.theirs.seconds):
            standing = [one for one in self.ours.values() if one.seconds[draw] <= theirs_s / _TIMES]
            found.append(standing[-1].shares[draw] if standing else 0.0)
        return tuple(found)

    @property
    def gains(self) -> tuple[float, ...]:
        """Ours after a tenth of their time minus theirs in points, draw by draw."""
        return tuple(100 * (a - b) for a, b in zip(self.in_time, self.theirs.shares, strict=True))


def measure(place: Place) -> Section:
    """Go through all numbers of examples of Rotten Tomatoes."""
    return of_source(place, "rotten_tomatoes", "fewshot", "A few short film reviews of each class")


def of_source(place: Place, source: Source, name: str, title: str) -> Section:
    """Go through all numbers of examples of one data set."""
    shots = _QUICK_SHOTS if place.is_quick else place.shots
    section = "_".join((name, *map(str, shots)))
    draws = (place.temporary if place.is_quick else place.cache) / f"draws-{section}"
    draws.mkdir(exist_ok=True)
    n_before = len(list(draws.glob("*.json")))
    sides = _Sides.of(place, source, draws)
    peers = dict.fromkeys((_AS_IT_COMES, sides.tuned()))
    rounds = [one for n in shots for one in sides.rounds(n, tuple(peers))]
    shutil.rmtree(draws)
    return Section(
        name=section,
        title=title,
        goals=[goal_of(one) for one in rounds],
        tables=(table_of(rounds),),
        notes=(
            f"The same encoder ({TRUNK}), the same draws, {_N_TEST:,} test texts. SetFit runs in fp32 and an "
            "environment of its own; ours are the probe and the recipe contrast, the first two rungs of a fit of few "
            "texts. What counts is the last of them that stands after a tenth of SetFit's time, draw by draw.",
            f"SetFit's settings were tried on {_N_TRIES} other draws of {_TRY_SHOTS} of each class: "
            f"{'; '.join(_shown(one) for one in _SETTINGS)}. The best of them is in the table beside its defaults, "
            "unless it is these.",
            "Seconds are those of learning: the process is running, libraries and network are loaded on both sides.",
            f"{n_before} of SetFit's draws were learned by runs before this one, which were cut off.",
        ),
    )


def few_of_each(split: TextSplit, n_shots: int) -> TextSplit:
    """Return the split with the first so many training texts of each label."""
    few = [row for label in split.labels for row in [r for r in split.train if r[1] == label][:n_shots]]
    order = np.random.default_rng(split.seed).permutation(len(few)).tolist()
    return replace(split, name=f"{split.name}-{n_shots}", train=tuple(few[place] for place in order))


@dataclass(frozen=True, slots=True)
class _Sides:
    """Ours and SetFit on one data set, with the same encoder; `draws` keeps what SetFit's draws came to."""

    place: Place
    source: Source
    rows: Sequence[Review]
    network: str
    window: int
    draws: Path

    @classmethod
    def of(cls, place: Place, source: Source, draws: Path) -> _Sides:
        """Write the encoder where SetFit loads it."""
        network = str(place.temporary / TRUNK)
        encoder = {"cache": str(place.topwork_cache), "out": network}
        window = run_side("encoder_side", encoder).last_json()["window"]
        return cls(place, source, reviews(place, source), network, window, draws)

    def rounds(self, n_shots: int, peers: Sequence[_Settings]) -> list[Round]:
        """Let ours learn each draw once, and SetFit once with each of its settings."""
        splits = self._splits(range(1 if self.place.is_quick else self.place.n_draws), n_shots)
        print(f"{self.source}, {n_shots} of each class, {len(splits)} draws", flush=True)
        asked = {"splits": self._written(splits), "cache": str(self.place.topwork_cache)}
        ours = {
            recipe: _came(
                splits, run_side("fewshot_side", {**asked, "recipe": recipe}, MALLOC_TUNED).last_json()
            )
            for recipe in _OURS
        }
        found = []
        for peer in peers:
            one = Round(self.source, n_shots, _shown(peer), ours, self._peer(splits, peer))
            told = ", ".join(f"{name} {np.mean(model.shares):.1%}" for name, model in ours.items())
            print(f"  {told}, SetFit {np.mean(one.theirs.shares):.1%} ({one.peer})", flush=True)
            found.append(one)
        return found

    def tuned(self) -> _Settings:
        """Return the settings that are right most often, on draws of their own."""
        tries = range(_FIRST_TRY, _FIRST_TRY + (1 if self.place.is_quick else _N_TRIES))
        splits = self._splits(tries, _TRY_SHOTS)
        means = {peer: float(np.mean(self._peer(splits, peer).shares)) for peer in _SETTINGS}
        for peer, mean in means.items():
            print(f"  tried: {_shown(peer)}: {mean:.1%}", flush=True)
        return max(means, key=lambda peer: means[peer])

    def _peer(self, splits: Sequence[TextSplit], settings: _Settings) -> Learner:
        kept = [self._kept(split, settings) for split in splits]
        asked = {
            "splits": self._written(splits),
            "kept": list(map(str, kept)),
            "network": self.network,
            "window": self.window,
            "folder": str(self.place.temporary / "setfit"),
            "settings": dict(settings),
        }
        python = str(interpreter(self.place.cache / "setfit", REQUIREMENTS))
        env = {"PYTHONPATH": str(ROOT), **MALLOC_TUNED}
        return _came(splits, run_side("setfit_side", asked, env, python=python).last_json())

    def _kept(self, split: TextSplit, settings: _Settings) -> Path:
        """Return where what SetFit made of a draw is kept, named after all that decides it."""
        told = json.dumps([REQUIREMENTS, self.window, settings, asdict(split)])
        return self.draws / f"{hashlib.sha256(told.encode()).hexdigest()}.json"

    def _splits(self, seeds: range, n_shots: int) -> list[TextSplit]:
        n_test = _QUICK_N_TEST if self.place.is_quick else _N_TEST
        return [few_of_each(_draw(self.source, self.rows, seed, n_test), n_shots) for seed in seeds]

    def _written(self, splits: Sequence[TextSplit]) -> list[str]:
        return [str(split.write(self.place.temporary)) for split in splits]


def _came(splits: Sequence[TextSplit], told: Any) -> Learner:
    shares = tuple(_share(split, one["answers"]) for split, one in zip(splits, told, strict=True))
    return Learner(shares, tuple(float(one["seconds"]) for one in told))


def _draw(source: Source, rows: Sequence[Review], seed: int, n_test: int) -> TextSplit:
    """Draw a test that is the same for all seeds, and training texts by the seed."""
    fixed = drawn(source, rows, 0, n_test=n_test, n_valid=0, n_train=len(rows) - n_test)
    order = np.random.default_rng(seed).permutation(len(fixed.train)).tolist()
    return replace(fixed, seed=seed, train=tuple(fixed.train[place] for place in order))


def _share(split: TextSplit, answers: Sequence[str]) -> float:
    truth = [label for _, label in split.test]
    return sum(a == b for a, b in zip(answers, truth, strict=True)) / len(truth)


# --- what is told of it -----------------------------------------------------------------------------------


def goal_of(one: Round) -> Goal:
    """Return what is promised of a round."""
    gain = Spread((statistics.fmean(one.gains),))
    what = (
        f"{one.name}, SetFit {one.peer}: after a tenth of its time, mean test accuracy, ours minus SetFit's,"
    )
    return Goal(what, gain, "at least", _MOST_BEHIND_POINTS, "points", 1)


def table_of(rounds: Sequence[Round]) -> Table:
    """Return a row for each round."""
    ours = (cell for name in _OURS for cell in (f"{name}, %", f"{name}, s"))
    head = (
        "learned from", "SetFit", "draws", *ours, "SetFit, %", "SetFit, s",
        "after a tenth of its time, ours minus theirs, points", "95 % interval",
    )  # fmt: skip
    return Table(head, [_row(one) for one in rounds])


def _shown(settings: _Settings) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in settings) or "as it comes"


def _row(one: Round) -> tuple[str, ...]:
    gains = np.array(one.gains)
    error = 1.96 * gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else float("nan")
    learners = (*one.ours.values(), one.theirs)
    cells = (
        cell
        for each in learners
        for cell in (f"{100 * statistics.fmean(each.shares):.1f}", Spread(each.seconds).shown(2))
    )
    return (
        one.name,
        one.peer,
        str(len(gains)),
        *cells,
        f"{gains.mean():+.1f}",
        f"{gains.mean() - error:+.1f} to {gains.mean() + error:+.1f}",
    )
