"""How much the score depends on the seed, pretrained and from scratch: brittleness, measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from topwork.contracts import (
    Afterwards,
    Array,
    Budget,
    Estimate,
    FitJob,
    Fitted,
    Recipe,
    Table,
    known_rows,
)
from topwork.evaluation.brittleness import Spread, spread, variance_ratio
from topwork.proof.rivals import features_after
from topwork.recipes.scratch import SCRATCH
from topwork.report.quantities import is_share
from topwork.steps.order import Order, Rows
from topwork.steps.transfer import Preparation

__all__ = ["N_SEEDS", "Brittleness", "brittleness", "in_times"]

N_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Brittleness:
    """Spread of a target's score over seeds as a table, and the variance of this recipe over that from scratch."""

    table: Table
    ratio: Estimate


def brittleness(
    order: Order, rows: Rows, preparation: Preparation, job: FitJob, seconds: float
) -> dict[str, Brittleness] | None:
    """Fit with several seeds on the same split, with this recipe and from scratch, each for ``seconds``.

    Where the fit was told a number of steps, this recipe takes these instead.

    Returns
    -------
    dict
        By target, without those that no test row has a label of; None where it was told to stop.
    """
    workplace = job.workplace and job.workplace.keeping_nothing()
    quiet = replace(job, workplace=workplace, afterwards=Afterwards())  # the seconds are for training alone
    ours = _scores(order, rows, preparation, quiet, order.recipe, seconds)
    scratch = ours and _scores(order, rows, preparation, replace(quiet, n_steps=None), SCRATCH, seconds)
    if not ours or not scratch:
        return None
    length = f"{seconds:.0f} s each" if job.n_steps is None else f"this recipe {job.n_steps} steps each"
    return {
        name: _told(
            {"this recipe": ours[name], "from scratch": scratch[name]},
            rows.targets[name].main_metric,
            _n_test(rows, name),
            length,
        )
        for name in ours
    }


def in_times(ratio: Estimate) -> str:
    """Spell a ratio of variances."""
    if not isfinite(ratio.value):
        return "not shown, every run from scratch came to the same score"
    if not ratio.value:
        return f"not shown, every run of this recipe came to the same score (0.00 to {ratio.high:.2f} times)"
    return (
        f"{ratio.value:.2f} times ({ratio.low:.2f} to {ratio.high:.2f}); where that holds 1, nothing is shown"
    )


def _n_test(rows: Rows, name: str) -> int:
    return int(known_rows(rows.truth[name][rows.split.test]).sum())


def _told(scores: dict[str, Array], metric: str, n_test: int, length: str) -> Brittleness:
    row, step = (_row_of_share, 1 / n_test) if is_share(metric) else (_row, 0.0)
    ratio = variance_ratio(*scores.values(), step=step)
    table = Table(
        "How much depends on the seed",
        ("fit", "mean score", "standard deviation over seeds"),
        tuple((name, *row(spread(one, step=step))) for name, one in scores.items()),
        f"{N_SEEDS} seeds on one split, {length}. Variance of this recipe over that from scratch: {in_times(ratio)}.",
    )
    return Brittleness(table, ratio)


def _row(found: Spread) -> tuple[str, str]:
    return tuple(
        f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})" for one in (found.mean, found.deviation)
    )  # type: ignore[return-value]


def _row_of_share(found: Spread) -> tuple[str, str]:
    mean, deviation = found.mean, found.deviation
    within = Estimate(mean.value, max(0.0, mean.low), min(1.0, mean.high))  # of a share
    points = f"{100 * deviation.value:.1f} points ({100 * deviation.low:.1f} to {100 * deviation.high:.1f})"
    return within.in_percent(), points


def _scores(
    order: Order, rows: Rows, preparation: Preparation, job: FitJob, recipe: Recipe, seconds: float
) -> dict[str, Array] | None:
    """Return each target's main metric on the test rows for each seed; None where it was told to stop."""
    runs = []
    for seed in range(N_SEEDS):
        if order.around.should_stop():
            return None
        budget = Budget(order.around.clock, order.around.clock() + seconds)
        fitted = recipe(replace(job, seed=order.seed + 1 + seed, budget=budget))
        if order.around.should_stop():  # it may have ended early, and says less than it seems
            return None
        runs.append(_scores_of(order, rows, preparation, fitted))
    return {name: np.array([run[name] for run in runs]) for name in runs[0]}


def _scores_of(order: Order, rows: Rows, preparation: Preparation, fitted: Fitted) -> dict[str, float]:
    features, found = features_after(order, rows, preparation, fitted), {}
    for name, target in rows.targets.items():
        if _n_test(rows, name):
            scores = fitted.heads[name].scores(features)
            metrics = target.evaluate(rows.truth[name][rows.split.test], scores, 0)
            found[name] = metrics[target.main_metric].value
    return found
