"""Full fine-tuning: every layer, for a number of epochs, from the probe's head.

One cycle of the learning rate (Smith, arXiv 1803.09820), each stage at a rate of its own (Howard and Ruder,
arXiv 1801.06146), the head first fitted on frozen features so that it does not spoil the layers below it (Kumar et al.,
*Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution*, arXiv 2202.10054). The weights are
those that validation liked best on the way. It sees no test row.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

from topwork.contracts import FitJob, Fitted, Rates
from topwork.recipes.first_rung import FirstRung
from topwork.recipes.result import calibrated
from topwork.recipes.settings import require
from topwork.recipes.stretch import (
    course_of_all,
    material_of,
    planned,
    probe_heads,
    stretch_of,
    train_stretch,
)
from topwork.training.plan import BATCH, RungPlan
from topwork.training.schedules import stage_rates

__all__ = ["FULL", "FullRecipe", "FullSettings", "full_rung"]


@dataclass(frozen=True, slots=True)
class FullSettings:
    """How long and how gently.

    Attributes
    ----------
    epochs
        Passes over the training rows.
    warmup
        Share of the steps in which the rates go up.
    weight_decay
        Of AdamW.
    smoothing
        Label smoothing.
    rate
        Peak rate of the head, as `lr-find` suggests it; the stages keep their ratios to it. None takes the trunk's.
    """

    epochs: int = 10
    warmup: float = 0.2
    weight_decay: float = 0.01
    smoothing: float = 0.1
    rate: float | None = None

    def __post_init__(self) -> None:
        allowed = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "warmup": (0 <= self.warmup < 1, "0 or more and less than 1"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "smoothing": (0 <= self.smoothing < 1, "0 or more and less than 1"),
            "rate": (self.rate is None or self.rate > 0, "more than 0"),
        }
        require(self, allowed)


@dataclass(frozen=True, slots=True)
class FullRecipe:
    """All layers at once."""

    settings: FullSettings = field(default_factory=FullSettings)
    name: str = "full"
    requires: frozenset[str] = frozenset({"pooled"})

    def __call__(self, job: FitJob) -> Fitted:
        """Train every layer, and give back what validation liked best; the probe where there was no time."""
        from topwork.training.devices import at_work

        material, first = material_of(job, self.name, keeps=True), FirstRung.of(job)
        with at_work(material.resources.device):
            stretch = stretch_of(job, probe_heads(job, job.folds[0], first.strengths))
            n_stages, batch = len(stretch.trainee.stages), min(BATCH, stretch.feed.n_train)
            rung = full_rung(self.settings, material.rates, n_stages, batch)
            plan = partial(planned, stretch, rung, self.settings.epochs)
            course = course_of_all(stretch, f"{self.name}: {self.settings}", plan)
            outcome, history = train_stretch(stretch, course)
        if not outcome.weights:
            return first.in_place_of(self.name, outcome)
        seconds = job.budget.clock() - first.ended_s
        fitted = calibrated(job, outcome, self.name, seconds, first.losses)
        return replace(fitted, rungs=(first.rung, *fitted.rungs), notes=first.probe.notes, history=history)


def full_rung(settings: FullSettings, rates: Rates, n_stages: int, batch: int) -> RungPlan:
    """Return one step of the stretch; whoever trains says how many there are."""
    factor = 1.0 if settings.rate is None else settings.rate / rates.head
    peaks = (*stage_rates(n_stages, rates.lowest, rates.highest), rates.head)
    return RungPlan(
        name="full",
        n_below=0,
        n_steps=1,
        batch=batch,
        rates=tuple(factor * one for one in peaks),
        check_every=1,
        smoothing=settings.smoothing,
        weight_decay=settings.weight_decay,
        warmup=settings.warmup,
    )


FULL = FullRecipe()
