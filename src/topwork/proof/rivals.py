"""Other models on the same test rows, to tell what pretraining and fine-tuning were worth.

The classical baseline sees no pretrained network, the frozen trunk no fine-tuning, the one from scratch no
pretraining, the blind one no input. Every comparison is paired row by row.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from topwork.contracts import Afterwards, Array, Budget, Comparison, FitJob, Fitted, Link, Target
from topwork.errors import DecodeError
from topwork.recipes.probe import PROBE
from topwork.recipes.scratch import SCRATCH
from topwork.steps.order import Order, Rows
from topwork.steps.transfer import Preparation, features_of
from topwork.steps.tuning import trained_graph, with_words
from topwork.training.links import solver_of
from topwork.training.sparse import fit_sparse

__all__ = ["Rival", "blind", "classical", "compared", "features_after", "from_scratch", "frozen"]

_BLIND: Final[Mapping[Link, tuple[str, str]]] = {
    "softmax": ("majority", "Always answers the most frequent label."),
    "sigmoid": (
        "same labels",
        "Always gives the labels whose share of the training rows reaches the threshold.",
    ),
    "cumulative": ("median", "Always answers the middle class of the training rows."),
    "identity": ("mean", "Always answers the mean of the training rows."),
    "hazard": ("same risk", "Gives every input the same risk."),
}
"""What a model is called that ignores its input, and what it does."""


@dataclass(frozen=True, slots=True, eq=False)
class Rival:
    """Another model: its scores ``[n_test, k]`` by target, how it was made in a sentence, and what that took.

    It may have scores of some targets only.

    ``is_blind`` where it ignores its input.
    """

    name: str
    how: str
    scores: Mapping[str, Array]
    seconds: float
    is_blind: bool = False


def compared(
    rows: Rows, scores: Mapping[str, Array], rivals: list[Rival], seed: int
) -> dict[str, tuple[Comparison, ...]]:
    """Compare this model's scores with those of each rival, for every target that the rival has scores of."""
    found: dict[str, tuple[Comparison, ...]] = {}
    for name, target in rows.targets.items():
        truth = rows.truth[name][rows.split.test]
        found[name] = tuple(
            _comparison(target, truth, (scores[name], rival.scores[name]), rival, seed)
            for rival in rivals
            if name in rival.scores
        )
    return found


def _comparison(
    target: Target, truth: Array, scores: tuple[Array, Array], rival: Rival, seed: int
) -> Comparison:
    """Compare this model's scores with a rival's, by the metrics that both have."""
    difference = target.compare(truth, *scores, seed)
    metrics = target.evaluate(truth, scores[1], seed)
    own = {name: metrics[name] for name in metrics if name in difference}
    return Comparison(rival.name, rival.how, own, difference, rival.seconds)


def blind(rows: Rows) -> list[Rival]:
    """Answer what fits the training rows best, whatever the input; targets of one link have one name for it."""
    goals, n = rows.goals(), len(rows.split.test)
    found: dict[Link, dict[str, Array]] = {}
    for name, goal in goals.items():
        scores = np.tile(solver_of(goal.link).blind_scores(goal), (n, 1))
        found.setdefault(goal.link, {})[name] = scores
    return [Rival(*_BLIND[link], scores, 0.0, is_blind=True) for link, scores in found.items()]


def frozen(rows: Rows, probe: Fitted, seconds: float) -> Rival:
    """Score the probe: the pretrained network as it came, only a linear head fitted."""
    scores = {name: head.scores(rows.test_features) for name, head in probe.heads.items()}
    how = "The same pretrained network left as it came, with a linear head."
    return Rival("frozen network", how, scores, seconds)


def classical(order: Order, rows: Rows) -> Rival | None:
    """Fit a linear model on hand-made features; None where no input can be read any more.

    Single rows that cannot be read any more count as empty.
    """
    clock = order.around.clock
    began_s = clock()
    wanted = np.concatenate([rows.fit_rows, rows.split.test])
    with (
        order.around.progress.track("Describing without a network", len(wanted), "inputs") as advance,
        ThreadPoolExecutor(2, "describe") as pool,
    ):
        described: list[Array | str] = []
        for one in pool.map(lambda row: _described(order, int(row)), wanted):
            described.append(one)
            advance(1)
    if not any(len(one) for one in described):
        return None
    n = len(rows.fit_rows)
    fitted, tested = order.modality.tabulate(described[:n], described[n:])
    if isinstance(fitted, np.ndarray):
        job = _job(order, replace(rows, fit_features=fitted), Budget(clock))
        probe = PROBE(replace(job, own_units=True))
        scores = {name: head.scores(tested) for name, head in probe.heads.items()}
    else:
        goals = rows.goals()
        scores = {name: fit_sparse(fitted, goal, rows.folds)(tested) for name, goal in goals.items()}
    how = f"Hand-made features ({order.modality.described_by}) with a linear model; no pretrained network."
    return Rival("classical baseline", how, scores, clock() - began_s)


def _described(order: Order, row: int) -> Array | str:
    try:
        return order.modality.classical(order.dataset.read(row))
    except DecodeError:
        return ""


def from_scratch(
    order: Order, rows: Rows, preparation: Preparation, job: FitJob, seconds: float
) -> tuple[Rival | None, str] | None:
    """Train the same network from random weights for as long as the model was, or for as many steps as were asked for.

    Returns
    -------
    tuple
        The rival, and what must be noted; no rival where training came to nothing. None where it was told to stop.
    """
    clock = order.around.clock
    began_s = clock()
    workplace = job.workplace and job.workplace.keeping_nothing()
    # Steps that were asked for are the measure in place of time, of which a quick machine takes next to none for a few.
    budget = Budget(clock, began_s + seconds) if job.n_steps is None else Budget(clock)
    alone = replace(job, budget=budget, workplace=workplace, afterwards=Afterwards())
    fitted = SCRATCH(alone)
    if order.around.should_stop():
        return None
    took_s = clock() - began_s
    (rung,) = fitted.rungs
    if not fitted.weights:
        return (
            None,
            f"From scratch: {took_s:.0f} s were too short for one look at validation, so it is not compared.",
        )
    features = features_after(order, rows, preparation, fitted)
    scores = {name: head.scores(features) for name, head in fitted.heads.items()}
    ended = f"; {', '.join(rung.notes)}" if rung.notes else ""
    how = (
        f"The same network from random weights, trained for {took_s:.0f} s ({rung.n_steps} steps in fp32{ended}); "
        f"training this model took {seconds:.0f} s."
    )
    return Rival("from scratch", how, scores, took_s), ""


def features_after(order: Order, rows: Rows, preparation: Preparation, fitted: Fitted) -> Array:
    """Return the features of the test rows by the network as a fit left it; ``rows`` have those of the frozen one."""
    if not fitted.weights:
        return rows.test_features
    graph = trained_graph(order, preparation, fitted)
    return features_of(preparation, graph, with_words(order, fitted), rows.split.test)


def _job(order: Order, rows: Rows, budget: Budget) -> FitJob:
    progress, own_units = order.around.progress, order.own_units
    return FitJob(
        rows.fit_features, rows.goals(), rows.folds, order.seed, budget, progress, own_units=own_units
    )
