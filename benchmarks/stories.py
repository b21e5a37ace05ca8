"""A language model is fine-tuned on plays in ten minutes: what held-out ones cost before and after.

It is the command that a user gives, with the seed that deals the plays to the sides.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.figures import Goal, Spread, Table
from benchmarks.place import Place
from benchmarks.plays import SOURCE, plays
from benchmarks.processes import TOPWORK, run
from benchmarks.results import Section
from topwork.bundle.contents import open_bundle
from topwork.contracts import Estimate
from topwork.engines.machine import survey

_BUDGET_MINUTES, _N_SEEDS = 10, 3
_LEAST_LESS = 15.0


@dataclass(frozen=True, slots=True)
class Fit:
    """One fit: perplexity of the held-out plays before and after, of an n-gram model, and how long all of it took."""

    seed: int
    before: Estimate
    after: Estimate
    ngrams: Estimate
    n_steps: int
    wall_s: float
    peak_bytes: int

    @property
    def less(self) -> float:
        """By how many percent the perplexity is lower."""
        return 100 * (1 - self.after.value / self.before.value)


def measure(place: Place) -> Section:
    """Fit once for each seed."""
    fits = [_fit(place, seed) for seed in place.rounds(_N_SEEDS, "fitting")]
    return Section(
        name="stories",
        title="A language model learns to write like plays",
        goals=[
            Goal(
                "perplexity of held-out plays is lower by",
                Spread(tuple(one.less for one in fits)),
                "at least",
                _LEAST_LESS,
                "percent",
                1,
            ),
            Goal(
                "the longest command took",
                Spread((max(one.wall_s for one in fits) / 60,)),
                "at most",
                _BUDGET_MINUTES,
                "minutes",
                1,
            ),
        ],
        tables=(_table(fits),),
        notes=(
            f"Plays of {SOURCE}, a tenth of them for the test and a tenth to validate, other ones for each seed. "
            "`topwork fit` of the folder with the default model and recipe (smollm2-135m, LoRA), on "
            f"{survey().n_cores} cores.",
            "Intervals of 95 % are those of the report, from drawing the test's pieces again.",
        ),
    )


def _fit(place: Place, seed: int) -> Fit:
    out = place.temporary / f"plays-{seed}.topwork"
    budget = "1m" if place.is_quick else f"{_BUDGET_MINUTES}m"
    words = ["fit", str(plays(place)), "--task", "writing", "--out", str(out), "--budget", budget]
    ended = run([*TOPWORK, *words, "--seed", str(seed)], place.env())
    record = open_bundle(out).record()
    (target,) = record.targets.values()
    base, ngrams = target.comparisons
    found = Fit(
        seed,
        base.metrics["perplexity"],
        target.test["perplexity"],
        ngrams.metrics["perplexity"],
        sum(rung.n_steps or 0 for rung in record.rungs),
        ended.wall_s,
        ended.peak_rss_bytes,
    )
    print(f"  {found.before.value:.1f} to {found.after.value:.1f} in {found.wall_s:.0f} s", flush=True)
    return found


def _table(fits: list[Fit]) -> Table:
    head = ("seed", "before", "after", "lower by, %", "n-gram model", "steps", "command, s", "peak, GB")
    rows = [
        (
            str(one.seed),
            _shown(one.before),
            _shown(one.after),
            f"{one.less:.1f}",
            f"{one.ngrams.value:.0f}",
            str(one.n_steps),
            f"{one.wall_s:.0f}",
            f"{one.peak_bytes / 1e9:.1f}",
        )
        for one in fits
    ]
    return Table(head, rows)


def _shown(one: Estimate) -> str:
    return f"{one.value:.1f} ({one.low:.1f}–{one.high:.1f})"
