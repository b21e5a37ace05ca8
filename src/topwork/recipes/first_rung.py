"""The probe as the first rung: what recipes that train begin with, and the model where training comes to nothing.

It knows nothing of the rungs above it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from topwork.contracts import Array, Budget, FitJob, Fitted, Rung
from topwork.recipes.probe import PROBE
from topwork.recipes.result import judged

if TYPE_CHECKING:
    from topwork.training.loop import Outcome

__all__ = ["FirstRung"]


@dataclass(frozen=True, slots=True, eq=False)
class FirstRung:
    """The probe, fitted, and what the validation rows say of it.

    Attributes
    ----------
    strengths
        C of each target.
    scores, losses
        Of the validation rows, each calibrated by other rows.
    ended_s
        What the clock said when it was fitted.
    took_s
        Seconds that fitting it took.
    """

    probe: Fitted
    strengths: Mapping[str, float]
    rung: Rung
    scores: Mapping[str, Array]
    losses: Array
    ended_s: float
    took_s: float

    @classmethod
    def of(cls, job: FitJob, began_s: float | None = None) -> FirstRung:
        """Fit the probe; the rung's seconds count from ``began_s``, by default from now."""
        clock = job.budget.clock
        started_s = clock()
        began_s = started_s if began_s is None else began_s
        # Where steps are asked for, what is fitted must not depend on how long anything takes.
        probe, strengths = PROBE.fit(job if job.n_steps is None else replace(job, budget=Budget(clock)))
        ended_s, valid = clock(), job.folds[0].valid
        scores = {name: held[valid] for name, held in probe.held_out.items()}
        rung, losses = judged(job, "probe", ended_s - began_s, scores)
        rung = replace(rung, notes=probe.notes, trained_share=0.0)
        return cls(probe, strengths, rung, scores, losses, ended_s, ended_s - started_s)

    def alone(self, *notes: str) -> Fitted:
        """Return the probe as the model."""
        chosen = replace(self.rung, chosen=True)
        return replace(self.probe, rungs=(chosen,), notes=(*self.probe.notes, *notes))

    def in_place_of(self, name: str, outcome: Outcome, *notes: str) -> Fitted:
        """Return the probe as the model because the training of the recipe ``name`` came to nothing."""
        note = f"{name} {outcome.ended} after {outcome.n_steps} steps; the model is the probe."
        return self.alone(*notes, note)
