"""How much the score depends on the seed, pretrained and from scratch: brittleness, measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from topwork.contracts import Array, Budget, Estimate, FitJob, Table
from topwork.evaluation.brittleness import Spread, spread, variance_ratio
from topwork.recipes.scratch import SCRATCH
from topwork.steps.order import Order, Rows
from topwork.steps.transfer import Preparation, features_of

__all__ = ["N_SEEDS", "Brittleness", "brittleness", "in_times"]

N_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Brittleness:
    """Spread of the score over seeds as a table, and the variance of this recipe over that from scratch."""

    table: Table
    ratio: Estimate


def brittleness(
    order: Order, rows: Rows, preparation: Preparation, job: FitJob, seconds: float
) -> Brittleness:
    """Fit with several seeds on the same split, with this recipe and from scratch, each for ``seconds``.

    Where the fit was told a number of steps, this recipe takes these instead.
    """
    step = 1 / max(1, len(rows.split.test))
    scores = {
        "this recipe": _scores(order, rows, preparation, job, order.recipe, seconds),
        "from scratch": _scores(order, rows, preparation, replace(job, n_steps=None), SCRATCH, seconds),
    }
    told = [(name, *_told(spread(one, step=step))) for name, one in scores.items()]
    ratio = variance_ratio(scores["this recipe"], scores["from scratch"])
    table = Table(
        "How much depends on the seed",
        ("fit", "mean score", "standard deviation over seeds"),
        tuple(told),
        f"{N_SEEDS} seeds on one split, {seconds:.0f} s each. Variance of this recipe over that from scratch: "
        f"{in_times(ratio)}.",
    )
    return Brittleness(table, ratio)


def in_times(ratio: Estimate) -> str:
    """Spell a ratio of variances."""
    if not isfinite(ratio.value):
        return "not shown, every run from scratch came to the same score"
    return (
        f"{ratio.value:.2f} times ({ratio.low:.2f} to {ratio.high:.2f}); where that holds 1, nothing is shown"
    )


def _told(found: Spread) -> tuple[str, str]:
    mean = Estimate(found.mean.value, max(0.0, found.mean.low), min(1.0, found.mean.high))  # of a share
    return mean.in_percent(), found.deviation.in_percent()


def _scores(
    order: Order, rows: Rows, preparation: Preparation, job: FitJob, recipe: object, seconds: float
) -> Array:
    """Return the first target's main metric on the test rows for each seed."""
    name, target = next(iter(rows.targets.items()))
    truth = rows.truth[name][rows.split.test]
    found = []
    for seed in range(N_SEEDS):
        budget = Budget(order.around.clock, order.around.clock() + seconds)
        assert callable(recipe)
        fitted = recipe(replace(job, seed=order.seed + 1 + seed, budget=budget, workplace=None))
        graph = preparation.graph()
        features = rows.test_features
        if fitted.weights:
            trained = replace(graph, weights={**graph.weights, **fitted.weights})
            features = features_of(preparation, trained, order, rows.split.test)
        head = fitted.heads[name]
        metrics = target.evaluate(truth, features @ head.weight.T + head.bias, 0)
        found.append(metrics[target.main_metric].value)
    return np.array(found)
