"""What came of a stretch of training: calibrated heads, scores of rows that were held out, and a rung that tells it.

A head is calibrated on the validation rows, and would flatter them; what is judged and handed on are scores of which
each row's was calibrated by other rows. It knows no recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from topwork.contracts import Array, Estimate, FitJob, Fitted, LinearHead, Rung
from topwork.training.judging import loss_name, losses_of_rows, mean_score, of_rows
from topwork.training.links import solver_of

if TYPE_CHECKING:
    import torch

    from topwork.training.loop import Outcome

__all__ = [
    "HeadOf",
    "after",
    "calibrated",
    "heads_and_scores",
    "held_out_of",
    "judged",
    "linear_head",
    "weights_of_network",
]

HeadOf: TypeAlias = "Callable[[Mapping[str, torch.Tensor], str], LinearHead]"
"""Takes a target's head out of the weights that were trained."""


def linear_head(weights: Mapping[str, torch.Tensor], target: str) -> LinearHead:
    """Return the head of a target out of what was trained, where it is a single layer."""
    return LinearHead(weights[f"heads.{target}.weight"].numpy(), weights[f"heads.{target}.bias"].numpy())


def calibrated(
    job: FitJob,
    outcome: Outcome,
    name: str,
    seconds: float,
    before: Array | None = None,
    *,
    head_of: HeadOf = linear_head,
) -> Fitted:
    """Return what was trained as a recipe gives it back, with its one rung.

    Parameters
    ----------
    before
        Losses of the validation rows before the training; the gain is told against them.
    """
    heads, scores = heads_and_scores(job, outcome, head_of)
    rung, _ = judged(job, name, seconds, scores, before)
    rung = replace(after(rung, outcome), trained_share=1.0, chosen=True)
    return Fitted(heads, held_out_of(job, scores), weights=weights_of_network(outcome.weights), rungs=(rung,))


def heads_and_scores(
    job: FitJob, outcome: Outcome, head_of: HeadOf = linear_head
) -> tuple[dict[str, LinearHead], dict[str, Array]]:
    """Return the heads, calibrated, and the scores of the validation rows, each calibrated by other rows.

    Where validation chose among several looks, a row's scores are of the look that other rows chose, too.
    """
    heads: dict[str, LinearHead] = {}
    scores: dict[str, Array] = {}
    for target, raw in outcome.check.scores.items():
        goal = job.goals[target]
        truth, solver = goal.truth[job.folds[0].valid], solver_of(goal.link)
        heads[target] = solver.calibrate(truth, raw).fold_into(head_of(outcome.weights, target))
        scores[target] = solver.cross_calibrate(truth, outcome.fair.get(target, raw), seed=job.seed)
    return heads, scores


def judged(
    job: FitJob, name: str, seconds: float, scores: Mapping[str, Array], before: Array | None = None
) -> tuple[Rung, Array]:
    """Return a rung with what the validation rows say of its scores, and the losses of these rows.

    Parameters
    ----------
    scores
        Of the validation rows, by target.
    before
        Losses of these rows that the gain is told against.
    """
    goals = of_rows(job.goals, job.folds[0].valid)
    losses = losses_of_rows(goals, scores)
    rung = Rung(
        name,
        seconds,
        mean_score(goals, scores),
        log_loss=_mean(losses),
        gain=None if before is None else _mean(before - losses),
        loss_name=loss_name(job.goals),
    )
    return rung, losses


def after(rung: Rung, outcome: Outcome) -> Rung:
    """Return a rung that tells what of the training is known: how long, to its end or not, what targets weighed.

    Where no look was finished, no target weighed anything yet.
    """
    notes = () if outcome.ended == "done" else (f"{outcome.ended} after {outcome.n_steps} steps",)
    scores = outcome.check.scores
    weighs = dict(zip(scores, outcome.factors, strict=True)) if scores and outcome.factors else {}
    return replace(rung, notes=notes, n_steps=outcome.n_steps, weighs=weighs)


def held_out_of(job: FitJob, scores: Mapping[str, Array]) -> dict[str, Array]:
    """Put the scores of the validation rows among all rows, ``float64 [n, k]`` by target; NaN where there is none."""
    held_out = {name: np.full((len(goal.truth), goal.n_outputs), np.nan) for name, goal in job.goals.items()}
    for name, own in scores.items():
        held_out[name][job.folds[0].valid] = own
    return held_out


def weights_of_network(weights: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    """Return what was trained without the heads."""
    return {name: value.numpy() for name, value in weights.items() if not name.startswith("heads.")}


def _mean(rows: Array) -> Estimate:
    """Return the mean of values by row, with the interval of a normal approximation."""
    error = 1.96 * rows.std(ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else float("inf")
    return Estimate(float(rows.mean()), float(rows.mean() - error), float(rows.mean() + error))
