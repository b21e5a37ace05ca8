"""What validation rows say of scores, over all targets at once. It knows no network and no schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from topwork.contracts import Array, Goal, known_rows
from topwork.evaluation.links import LOSS_NAMES, losses_of

__all__ = ["loss_name", "losses_of_rows", "mean_score", "of_rows"]


def of_rows(goals: Mapping[str, Goal], rows: Array) -> dict[str, Goal]:
    """Return the goals of some rows alone."""
    return {name: replace(goal, truth=goal.truth[rows]) for name, goal in goals.items()}


def losses_of_rows(goals: Mapping[str, Goal], scores: Mapping[str, Array]) -> Array:
    """Return the loss of each row by `losses_of`, averaged over the targets that it has a truth of.

    Parameters
    ----------
    scores
        ``[n, k]`` by target; NaN where a row has none. Rows without any target are left out.
    """
    losses = np.full((len(goals), len(next(iter(scores.values())))), np.nan)
    for i, (name, goal) in enumerate(goals.items()):
        known = known_rows(goal.truth) & ~np.isnan(scores[name][:, 0])
        losses[i, known] = losses_of(goal.link, goal.truth[known], scores[name][known])
    some = ~np.isnan(losses).all(axis=0)
    return np.asarray(np.nanmean(losses[:, some], axis=0))


def loss_name(goals: Mapping[str, Goal]) -> str:
    """Return what a person calls the losses of `losses_of_rows`."""
    return " and ".join(dict.fromkeys(LOSS_NAMES[goal.link] for goal in goals.values()))


def mean_score(goals: Mapping[str, Goal], scores: Mapping[str, Array]) -> float:
    """Return the main metric, averaged over the targets that have one; NaN without any."""
    every = [goal.score(goal.truth, scores[name]) for name, goal in goals.items() if goal.score is not None]
    known = [one for one in every if one == one]
    return float(np.mean(known)) if known else float("nan")
