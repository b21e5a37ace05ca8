"""The probe: a linear head on frozen features, its regularisation chosen by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from topwork.contracts import Array, FitJob, Fitted, Fold, Goal, LinearHead, known_rows
from topwork.evaluation.comparison import standard_error
from topwork.evaluation.links import losses_of
from topwork.recipes.settings import require
from topwork.training.axes import Axes, quiet_blas
from topwork.training.links import solver_of
from topwork.training.probe import strengths

__all__ = ["PROBE", "ProbeRecipe", "ProbeSettings"]

_GRACE = 0.1
"""Of the time that reading took, what the search for C may take beyond a budget that is used up."""


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """When the search for C ends, and what it chooses.

    Attributes
    ----------
    patience
        How many weaker regularisations may fail to improve before it ends.
    tolerance
        By how many standard errors of the difference a stronger regularisation may be worse than the best one and
        still be preferred. One is the rule of Breiman et al., *Classification and Regression Trees*, 1984, section
        3.4.3; half of it loses next to nothing where the choice is clear.
    """

    patience: int = 1
    tolerance: float = 0.5

    def __post_init__(self) -> None:
        require(self, {"tolerance": (self.tolerance >= 0, "0 or more")})


@dataclass(frozen=True, slots=True)
class ProbeRecipe:
    """A linear model on cached features: logistic regression, or ridge regression where a number is predicted."""

    settings: ProbeSettings = field(default_factory=ProbeSettings)
    name: str = "probe"
    requires: frozenset[str] = frozenset({"pooled"})

    def __call__(self, job: FitJob) -> Fitted:
        """Fit one calibrated head per goal."""
        return self.fit(job)[0]

    def fit(self, job: FitJob) -> tuple[Fitted, dict[str, float]]:
        """Fit one calibrated head per goal; return the C of each as well."""
        with quiet_blas(job.features):
            return self._fit(job)

    def _fit(self, job: FitJob) -> tuple[Fitted, dict[str, float]]:
        axes = Axes.of(job.features, own_units=job.own_units)
        heads: dict[str, LinearHead] = {}
        held_out: dict[str, Array] = {}
        found: dict[str, float] = {}
        notes: list[str] = []
        with job.progress.track("Fitting the probe", len(job.goals), "targets") as advance:
            for name, goal in job.goals.items():
                heads[name], held_out[name], found[name], cut = fit_goal(axes, goal, job, self.settings)
                note = f"C = {found[name]:.3g}" + (", search cut short by the budget" if cut else "")
                notes.append(f"{name}: {note}" if len(job.goals) > 1 else note)
                advance(1)
        return Fitted(heads, held_out, tuple(notes)), found


def fit_goal(
    axes: Axes, goal: Goal, job: FitJob, settings: ProbeSettings
) -> tuple[LinearHead, Array, float, bool]:
    """Choose C by held-out loss, refit on all rows, and calibrate on what was held out.

    The calibration of the held-out scores that come back was fitted on other rows.

    Returns
    -------
    tuple
        Head, held-out scores, C, and whether the search for it was cut short by the budget.
    """
    scores, strength, cut = choose(axes, goal, job.folds, job, settings)
    solver = solver_of(goal.link)
    calibration = solver.calibrate(goal.truth, scores)
    head = solver.head(axes, goal, strength)
    held_out = solver.cross_calibrate(goal.truth, scores, seed=job.seed)
    return calibration.fold_into(head), held_out, strength, cut


@dataclass(frozen=True, slots=True, eq=False)
class _Tried:
    """A C that was tried: scores of the rows that were held out, and what each of those costs."""

    strength: float
    scores: Array
    losses: Array

    def is_better(self, other: _Tried) -> bool:
        """Tell whether the mean loss is lower; never where no row was held out."""
        return bool(len(self.losses)) and float((self.losses - other.losses).mean()) < 0

    def is_clearly_better(self, other: _Tried, tolerance: float) -> bool:
        """Tell whether it is lower by more than so many standard errors of the difference, row by row."""
        more = other.losses - self.losses
        return float(more.mean()) > tolerance * standard_error(more)


def choose(
    axes: Axes, goal: Goal, folds: tuple[Fold, ...], job: FitJob, settings: ProbeSettings
) -> tuple[Array, float, bool]:
    """Walk from strong to weak regularisation while the held-out loss falls; stop when the budget ends.

    Chosen is the strongest one that the best of them does not clearly beat: with few rows the best is best by chance,
    and a model that is held back too little costs more than one that is held back too much.

    Where reading alone has used it up, the walk may take a little longer still: a model that waited for its features
    for minutes should not be a poor one for want of seconds.
    """
    over_s = job.budget.remaining_s()
    limit_s = 0.0 if over_s > 0 else over_s - _GRACE * job.afterwards.n_rows * (job.afterwards.row_s or 0.0)
    solver, start, failures = solver_of(goal.link), None, 0
    kept: list[_Tried] = []  # the last is the best, and clearly better than none of them
    for strength in strengths(len(axes)):
        scores, start = solver.cross_validate(axes, goal, folds, strength, start)
        one = _Tried(strength, scores, _losses(goal, solver.calibrate(goal.truth, scores).apply(scores)))
        if not kept or one.is_better(kept[-1]):
            kept = [*(k for k in kept if not one.is_clearly_better(k, settings.tolerance)), one]
            failures = 0
        else:
            failures += 1
        if job.budget.remaining_s() <= limit_s:
            return kept[0].scores, kept[0].strength, True
        if failures >= settings.patience:
            break
    return kept[0].scores, kept[0].strength, False


def _losses(goal: Goal, scores: Array) -> Array:
    """Return what each row that has a truth and was held out costs."""
    known = known_rows(goal.truth) & ~np.isnan(scores[:, 0])
    return losses_of(goal.link, goal.truth[known], scores[known]) if known.any() else np.zeros(0)


PROBE = ProbeRecipe()
