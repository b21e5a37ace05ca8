"""Tuning on pairs as a rung of the ladder: whether there is one, how long it takes, and whether it replaces the probe.

It knows no network; what the rung does stands in `contrast`.
"""

from __future__ import annotations

from math import ceil
from typing import Final

import numpy as np

from topwork.contracts import Array, FitJob, Goal, has_classes, known_rows
from topwork.evaluation.comparison import one_standard_error_choice
from topwork.evaluation.links import losses_of
from topwork.recipes.contrast import ContrastSettings, n_steps_of, sides_of
from topwork.training.plan import BATCH, Speed

__all__ = ["is_few", "is_preferred", "seconds_of", "worth_s"]

_MOST_ROWS: Final = 512
_MOST_OF_EACH: Final = 100
"""Rows of each class on average: with more the other rungs learn as much, and choose by enough rows."""
_SHARE: Final = 0.3
"""Part of the time that it may take."""


def is_few(job: FitJob) -> bool:
    """Tell whether rows are so few that tuning on pairs of them is worth it: of a single target of classes."""
    goals = tuple(job.goals.values())
    if len(goals) != 1 or not has_classes(goals[0].link) or job.sample is not None:
        return False
    return len(job.features) <= min(_MOST_ROWS, _MOST_OF_EACH * goals[0].n_outputs)


def seconds_of(job: FitJob, speed: Speed, settings: ContrastSettings) -> float:
    """Return what the rung takes: a step takes as long for each row as one of the upper stages in a trial did."""
    [goal] = job.goals.values()
    n, n_train = len(job.features), max(1, len(job.folds[0].train))
    sides = sides_of(job, goal)
    n_tuned = sum(_n_tuned(len(rows), settings) for rows in sides)
    step_row_s = speed.top_s / min(BATCH, n_train)
    looking_s = len(sides) * n * step_row_s
    return n_tuned * step_row_s + looking_s + speed.fill_s * n / n_train


def _n_tuned(n_rows: int, settings: ContrastSettings) -> int:
    """Return how often a row goes through the upper stages and back, over all rows of a tuning."""
    return n_steps_of(n_rows, settings.rows_per_step) * n_rows // ceil(n_rows / settings.batch)


def worth_s(job: FitJob, speed: Speed, left_s: float, settings: ContrastSettings) -> float:
    """Return the seconds that the rung is to take; 0 where there is none.

    There is none where steps are asked for: they are to be all that is trained.
    """
    if job.n_steps is not None or not is_few(job):
        return 0.0
    needed_s = seconds_of(job, speed, settings)
    return needed_s if needed_s <= _SHARE * left_s else 0.0


def is_preferred(goal: Goal, held_out: Array, probe: Array, *, leans: bool) -> bool:
    """Tell whether the rung takes the place of the probe, by scores ``[n, k]`` that both have of held-out rows.

    Parameters
    ----------
    leans
        It does unless the probe's loss is lower by more than one standard error of the difference: of so few rows none
        could show a gain of a hundredth of a nat, and over many draws of texts there is one. Otherwise it does only
        where its own loss is lower by as much.
    """
    known = known_rows(goal.truth) & ~np.isnan(held_out[:, 0]) & ~np.isnan(probe[:, 0])
    losses = [losses_of(goal.link, goal.truth[known], scores[known]) for scores in (held_out, probe)]
    if leans:
        return one_standard_error_choice(np.stack(losses)) == 0
    return one_standard_error_choice(np.stack(losses[::-1])) == 1
