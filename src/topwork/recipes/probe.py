"""The probe: a linear head on frozen features, its regularisation chosen by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from topwork.contracts import Array, FitJob, Fitted, Fold, Goal, LinearHead
from topwork.training.links import solver_of
from topwork.training.probe import Axes, quiet_blas, strengths

__all__ = ["PROBE", "ProbeRecipe", "ProbeSettings"]

_GRACE = 0.1
"""Of the time that reading took, what the search for C may take beyond a budget that is used up."""


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """``patience``: how many weaker regularisations may fail to improve before the search ends."""

    patience: int = 1


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
        axes = Axes.of(job.features)
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


def choose(
    axes: Axes, goal: Goal, folds: tuple[Fold, ...], job: FitJob, settings: ProbeSettings
) -> tuple[Array, float, bool]:
    """Walk from strong to weak regularisation while the held-out loss falls; stop when the budget ends.

    Where reading alone has used it up, the walk may take a little longer still: a model that waited for its features
    for minutes should not be a poor one for want of seconds.
    """
    over_s = job.budget.remaining_s()
    limit_s = 0.0 if over_s > 0 else over_s - _GRACE * job.afterwards.n_rows * (job.afterwards.row_s or 0.0)
    best_loss, best_scores, best_strength = np.inf, np.full((len(axes), goal.n_outputs), np.nan), 0.0
    solver, start, failures = solver_of(goal.link), None, 0
    for strength in strengths(len(axes)):
        scores, start = solver.cross_validate(axes, goal, folds, strength, start)
        loss = solver.loss(goal.truth, solver.calibrate(goal.truth, scores).apply(scores))
        if loss < best_loss or not best_strength:
            best_loss, best_scores, best_strength, failures = loss, scores, strength, 0
        else:
            failures += 1
        if job.budget.remaining_s() <= limit_s:
            return best_scores, best_strength, True
        if failures >= settings.patience:
            break
    return best_scores, best_strength, False


PROBE = ProbeRecipe()
