"""Each target's model trained alone, by the same recipe: what training the targets together was worth.

It sees of the other targets neither labels nor rows that have labels of them alone, as whoever fits a single target
would not. It knows no recipe and no task.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from topwork.contracts import Afterwards, Array, Budget, FitJob, Fitted, Fold, known_rows
from topwork.proof.rivals import Rival, features_after
from topwork.report.verdicts import ALONE
from topwork.steps.material import TrunkMaterial
from topwork.steps.order import Order, Rows
from topwork.steps.transfer import Preparation

__all__ = ["narrowed", "trained_alone"]


def trained_alone(
    order: Order, rows: Rows, preparation: Preparation, job: FitJob, name: str, seconds: float
) -> tuple[Rival | None, str] | None:
    """Fit one target alone.

    Parameters
    ----------
    rows
        With the features of the frozen trunk.
    job
        That of all targets; its steps, where it has any, are those of this model.
    seconds
        How long it may train where no steps are given.

    Returns
    -------
    tuple
        The rival, which has scores of this target alone, and what must be noted; no rival where the target has too
        few rows to fit. None where it was told to stop.
    """
    clock = order.around.clock
    began_s = clock()
    own = narrowed(job, name, order, rows)
    if own is None:
        return None, f"{name} alone: too few training rows have a value of it to hold any out."
    fitted = order.recipe(replace(own, budget=Budget(clock, began_s + seconds)))
    if order.around.should_stop():  # it may have ended early, and says less than it seems
        return None
    took_s = clock() - began_s
    scores = fitted.heads[name].scores(features_after(order, rows, preparation, fitted))
    return Rival(ALONE, _how(order, fitted, len(own.features), took_s), {name: scores}, took_s), ""


def narrowed(job: FitJob, name: str, order: Order, rows: Rows) -> FitJob | None:
    """Return the job of one target: of the rows that have a truth of it; None where they leave nothing to hold out."""
    goal = job.goals[name]
    known = np.flatnonzero(known_rows(goal.truth))
    folds = [Fold(_within(fold.train, known), _within(fold.valid, known)) for fold in job.folds]
    useful = tuple(fold for fold in folds if len(fold.train) and len(fold.valid))
    if not useful:
        return None
    material = job.material and TrunkMaterial(
        order.trunk,
        order.around,
        order.dataset,
        order.modality,
        rows.fit_rows[known],
        job.material.resources,
    )
    return replace(
        job,
        features=job.features[known],
        goals={name: replace(goal, truth=goal.truth[known], scale=1.0)},
        folds=useful,
        material=material,
        workplace=job.workplace and job.workplace.keeping_nothing(),
        afterwards=Afterwards(),  # the time is for training alone
    )


def _within(rows: Array, known: Array) -> Array:
    """Return the places among the known rows of those of ``rows`` that are known."""
    return np.searchsorted(known, rows[np.isin(rows, known)])


def _how(order: Order, fitted: Fitted, n_rows: int, took_s: float) -> str:
    rung = next((one for one in fitted.rungs if one.chosen), None)
    trained = f", {rung.n_steps:,} steps of {rung.name!r}" if rung is not None and rung.n_steps else ""
    return (
        f"The recipe {order.recipe.name} for this target alone, on the {n_rows:,} rows that have a value of it, for "
        f"{took_s:.0f} s{trained}."
    )
