"""What validation rows say of scores, over all targets at once. It knows no network and no schedule.

Losses of several targets are put together in units of what ignoring the input costs, `Goal.scale`: 1 is as good as
knowing nothing, 0 is perfect. Every target counts the same, save those that hardly any row has a truth of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from topwork.contracts import Array, Goal, known_rows
from topwork.evaluation.links import LOSS_NAMES, RELATIVE_LOSS, losses_of
from topwork.training.links import solver_of

__all__ = [
    "blind_loss",
    "chosen_by_others",
    "half_of",
    "loss_name",
    "losses_of_rows",
    "mean_score",
    "of_rows",
    "shares_of",
    "skill",
]

_ENOUGH: Final = 30
"""From so many validation rows on a target counts in full."""
_UNSCALED: Final = ("hazard",)
"""Links whose scores mean something beside others of the same model alone."""
_LEAST: Final = 1e-6
"""A scale is not below this: nothing is divided by zero where all rows have one truth."""


def of_rows(goals: Mapping[str, Goal], rows: Array) -> dict[str, Goal]:
    """Return the goals of some rows alone."""
    return {name: replace(goal, truth=goal.truth[rows]) for name, goal in goals.items()}


def blind_loss(goal: Goal) -> float:
    """Return the mean loss of answers that fit the rows best and ignore the input; 1 where no row has a truth."""
    truth = goal.truth[known_rows(goal.truth)]
    if not len(truth):
        return 1.0
    scores = np.tile(solver_of(goal.link).blind_scores(goal), (len(truth), 1))
    return max(float(losses_of(goal.link, truth, scores).mean()), _LEAST)


def losses_of_rows(goals: Mapping[str, Goal], scores: Mapping[str, Array]) -> Array:
    """Return what each row costs: of one target its loss by `losses_of`, of several the mean of their relative losses.

    A target that few rows have a truth of counts on each of these for as much more, so that the mean over the rows is
    the mean over the targets by `shares_of`.

    Parameters
    ----------
    scores
        ``[n, k]`` by target; NaN where a row has none. Rows without any target are left out.
    """
    losses = np.full((len(goals), len(next(iter(scores.values())))), np.nan)
    for i, (name, goal) in enumerate(goals.items()):
        known = known_rows(goal.truth) & ~np.isnan(scores[name][:, 0])
        losses[i, known] = losses_of(goal.link, goal.truth[known], scores[name][known]) / goal.scale
    some = ~np.isnan(losses).all(axis=0)
    n_known = (~np.isnan(losses)).sum(axis=1)
    weights = _shares(n_known) * some.sum() / np.maximum(1, n_known)
    return np.asarray(np.nansum(losses[:, some] * weights[:, None], axis=0))


def chosen_by_others(
    goals: Mapping[str, Goal], looks: Sequence[Mapping[str, Array]], *, seed: int
) -> dict[str, Array]:
    """Return for each half of the rows the scores of that one of several looks that the other half likes best.

    A look that is the best of several on some rows flatters itself on these: it is the best by its luck there, too.

    Parameters
    ----------
    looks
        Scores ``[n, k]`` by target, of each look; one at least.
    seed
        Of the halves. Risks of two looks cannot be held against each other, so that theirs are all of one look.
    """
    losses = [_loss_of_each(goals, look) for look in looks]
    n = len(losses[0])
    first = half_of(n, seed)
    whole = _best_on(losses, np.ones(n, dtype=bool))
    found = {name: np.array(scores) for name, scores in looks[whole].items()}
    for own in (first, ~first):
        best = looks[_best_on(losses, ~own)]
        for name in (name for name in found if goals[name].link not in _UNSCALED):
            found[name][own] = best[name][own]
    return found


def half_of(n: int, seed: int) -> Array:
    """Return which of ``n`` rows are of the first half, ``bool [n]``."""
    return np.isin(np.arange(n), np.random.default_rng(seed).permutation(n)[: n // 2])


def _best_on(losses: Sequence[Array], rows: Array) -> int:
    """Return the place of the lowest mean over some rows, those without a loss left out."""
    some = [one[rows & ~np.isnan(one)] for one in losses]
    return int(np.argmin(np.array([one.mean() if len(one) else 0.0 for one in some])))


def _loss_of_each(goals: Mapping[str, Goal], scores: Mapping[str, Array]) -> Array:
    """Return what each row costs as `losses_of_rows` has it, ``float64 [n]``; NaN where it has no target."""
    known = np.zeros(len(next(iter(scores.values()))), dtype=bool)
    for name, goal in goals.items():
        known |= known_rows(goal.truth) & ~np.isnan(scores[name][:, 0])
    found = np.full(len(known), np.nan)
    found[known] = losses_of_rows(goals, scores)
    return found


def shares_of(goals: Mapping[str, Goal]) -> Array:
    """Return how much each target counts, ``float64 [t]``, in all 1: the same, but less by as much as rows are too few.

    The mean of a handful of rows is mostly chance, and would decide for all the others.
    """
    return _shares(np.array([known_rows(goal.truth).sum() for goal in goals.values()]))


def _shares(n_known: Array) -> Array:
    evidence = np.minimum(n_known, _ENOUGH)
    return np.asarray(evidence / max(1, evidence.sum()))


def loss_name(goals: Mapping[str, Goal]) -> str:
    """Return what a person calls the losses of `losses_of_rows`."""
    if len(goals) > 1:
        return RELATIVE_LOSS
    return " and ".join(LOSS_NAMES[goal.link] for goal in goals.values())


def mean_score(goals: Mapping[str, Goal], scores: Mapping[str, Array]) -> float:
    """Return the main metric, averaged over the targets that have one; NaN without any.

    Targets of several metrics have no average; of these it is the `skill`.
    """
    if len({goal.metric for goal in goals.values()}) > 1:
        return skill(goals, scores)
    every = [goal.score(goal.truth, scores[name]) for name, goal in goals.items() if goal.score is not None]
    known = [one for one in every if one == one]
    return float(np.mean(known)) if known else float("nan")


def skill(goals: Mapping[str, Goal], scores: Mapping[str, Array]) -> float:
    """Return which share of what ignoring the input costs is gone, averaged over the targets; NaN without any row.

    Of numbers it is R², of classes the log loss takes the place of the squared error (McFadden, *Conditional Logit
    Analysis of Qualitative Choice Behavior*, 1974).
    """
    losses = losses_of_rows(goals, scores)
    return 1 - float(losses.mean()) if len(losses) else float("nan")
