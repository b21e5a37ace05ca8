"""How training goes on after a kill: its plan is written down before the first step, and read by the next run.

It knows no recipe; what is kept of the training itself stands in `topwork.training.unfinished`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from topwork.contracts import FitJob
from topwork.training.fingerprint import digest, versions_of
from topwork.training.plan import Plan, RungPlan
from topwork.training.unfinished import Unfinished

__all__ = ["Course", "course_of", "passing", "plan_without_rungs"]

_LIBRARIES = ("topwork", "torch", "timm", "numpy", "pillow")
"""Their versions decide the weights."""


@dataclass(frozen=True, slots=True)
class Course:
    """One stretch of training as it was planned.

    Attributes
    ----------
    kept_back_s
        Seconds of the budget that are not for training.
    unfinished
        Where the state is kept while it lasts.
    """

    rung: RungPlan
    kept_back_s: float
    unfinished: Unfinished


def course_of(job: FitJob, now: Plan, plan: Callable[[], tuple[RungPlan, float]]) -> Course:
    """Read the plan of the run that is resumed, or make one and write it down.

    Parameters
    ----------
    now
        Without rungs: what must be the same for a run to go on, see `plan_without_rungs`.
    plan
        Gives the rung and the seconds to keep back; asked only where nothing is resumed.

    Raises
    ------
    UsageError
        The run that is to be resumed is not there, or was another one.
    """
    unfinished = Unfinished(job.workplace, job.progress.say)
    if unfinished.resumes:
        found = unfinished.read_plan(now)
    else:
        rung, kept_back_s = plan()
        found = replace(now, rungs=(rung,), kept_back_s=kept_back_s)
        unfinished.write_plan(found)
    [rung] = found.rungs
    return Course(rung, found.kept_back_s, unfinished)


def passing(job: FitJob, rung: RungPlan, kept_back_s: float) -> Course:
    """Return a course of which nothing is kept."""
    return Course(rung, kept_back_s, Unfinished(None, job.progress.say))


def plan_without_rungs(job: FitJob, recipe: str, *, bf16: bool) -> Plan:
    """Return what must be the same for a run to go on."""
    import torch

    from topwork.training.devices import named

    return Plan(
        seed=job.seed,
        n_threads=torch.get_num_threads(),
        device="cpu" if job.material is None else named(job.material.resources.device),
        precision="bf16" if bf16 else "fp32",
        libraries=versions_of(_LIBRARIES),
        data=digest(job),
        steps=job.n_steps,
        n_known=None if job.sample is None else len(job.sample.known),
        recipe=recipe,
        rungs=(),
    )
