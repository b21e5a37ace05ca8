"""Big Transfer's rule: how long, at which rate and how mixed follows from the number of examples alone.

Kolesnikov et al., *Big Transfer (BiT): General Visual Representation Learning*, arXiv 1912.11370, section 3.3, with the
numbers of the authors' program where the paper leaves them open. Nothing is chosen on validation: the weights are the
last ones. What this network cannot follow of the rule is told in the notes. It sees no test row.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from math import prod

import numpy as np

from topwork.contracts import FitJob, Fitted, Material
from topwork.errors import UsageError
from topwork.recipes.first_rung import FirstRung
from topwork.recipes.result import calibrated
from topwork.recipes.settings import require
from topwork.recipes.stretch import (
    Stretch,
    course_of_all,
    material_of,
    steps_within,
    stretch_of,
    train_stretch,
    zero_heads,
)
from topwork.training.plan import RungPlan

__all__ = ["HYPERRULE", "HyperruleRecipe", "HyperruleSettings", "Schedule", "schedule_for", "sizes_for"]

_BATCH = 512
_SMALL_AREA = 96 * 96


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps in all, the step at which the rate is up, those after which it falls to a tenth, and mixup's parameter."""

    n_steps: int
    warmup: int
    falls: tuple[int, ...]
    mixup: float

    def within(self, n_steps: int) -> Schedule:
        """Return the same course in so many steps, every milestone moved in proportion."""
        part = n_steps / self.n_steps
        falls = tuple(round(one * part) for one in self.falls)
        return replace(self, n_steps=n_steps, warmup=max(1, round(self.warmup * part)), falls=falls)


def schedule_for(n_examples: int) -> Schedule:
    """Return what the rule says for a number of training examples."""
    if n_examples < 20_000:
        return Schedule(500, 100, (200, 300, 400), 0.0)
    if n_examples < 500_000:
        return Schedule(10_000, 500, (3_000, 6_000, 9_000), 0.1)
    return Schedule(20_000, 500, (6_000, 12_000, 18_000), 0.1)


def sizes_for(height: int, width: int) -> tuple[int, int]:
    """Return to which side a picture is resized and to which it is cropped, in pixels."""
    return (160, 128) if height * width < _SMALL_AREA else (512, 480)


@dataclass(frozen=True, slots=True)
class HyperruleSettings:
    """``rate`` at ``batch`` 512, and in proportion to it at another; with fewer rows than that all are a batch.

    ``resize`` is ``own`` for pictures of the trunk's size, ``rule`` for that of the rule, which a processor has hardly
    time for.
    """

    rate: float = 0.003
    batch: int = _BATCH
    resize: str = "own"

    def __post_init__(self) -> None:
        require(self, {"resize": (self.resize in ("rule", "own"), "rule or own")})
        if self.rate <= 0 or self.batch < 1:
            raise UsageError(
                f"The settings rate and batch are {self.rate} and {self.batch}; expected more than 0 and 1 or more."
            )


@dataclass(frozen=True, slots=True)
class HyperruleRecipe:
    """All layers by SGD, from a head of zeros, as the rule says."""

    settings: HyperruleSettings = field(default_factory=HyperruleSettings)
    name: str = "hyperrule"
    requires: frozenset[str] = frozenset({"pooled"})

    def side_px(self, height: int, width: int) -> int | None:
        """Return to which side the rule crops pictures of so many pixels; see `topwork.contracts.SizingRecipe`."""
        return sizes_for(height, width)[1] if self.settings.resize == "rule" and height * width else None

    def __call__(self, job: FitJob) -> Fitted:
        """Follow the rule to its end, or as much of it as there is time for; the probe where there is none."""
        from topwork.training.devices import at_work

        material, clock = material_of(job, self.name, keeps=True), job.budget.clock
        began_s = clock()
        with at_work(material.resources.device):
            stretch = stretch_of(job, zero_heads(job))
            rule = schedule_for(stretch.feed.n_train)
            plan = partial(self._plan, stretch, rule)
            course = course_of_all(stretch, f"{self.name}: {self.settings}", plan)
            outcome, history = train_stretch(stretch, course)
        if not outcome.weights:
            return FirstRung.of(job, began_s).in_place_of(self.name, outcome)
        fitted = calibrated(job, outcome, self.name, clock() - began_s)
        return replace(fitted, notes=_notes(material, rule, course.rung), history=history)

    def _plan(self, stretch: Stretch, rule: Schedule) -> tuple[RungPlan, float]:
        """Return the rule as a stretch of training, and the time to keep back of the budget."""
        n_train, n_valid = stretch.feed.n_train, len(stretch.fold.valid)
        batch = min(self.settings.batch, n_train)
        wanted = stretch.job.n_steps or rule.n_steps
        n_steps, kept_back_s = steps_within(stretch, wanted, batch, check_every=wanted, looked=n_valid)
        course = rule.within(n_steps)
        peak = self.settings.rate * batch / _BATCH
        rung = RungPlan(
            name=self.name,
            n_below=0,
            n_steps=n_steps,
            batch=batch,
            rates=(peak,) * (len(stretch.trainee.stages) + 1),
            check_every=max(1, n_steps),  # at the end alone: the rule chooses nothing on validation
            n_looked=max(1, n_valid),
            smoothing=0.0,
            weight_decay=0.0,
            average_decay=0.0,
            milestones=(course.warmup, *course.falls),
            optimiser="sgd",
            mixup=rule.mixup,
            largest_gradient=0.0,
        )
        return rung, kept_back_s


def _notes(material: Material, rule: Schedule, rung: RungPlan) -> tuple[str, ...]:
    """Say what was followed of the rule, and what was not."""
    notes = []
    if rung.n_steps != rule.n_steps:
        notes.append(f"Not the rule itself: its {rule.n_steps:,} steps are scaled to {rung.n_steps:,}.")
    example = material.example(0)
    is_picture = example.dtype == np.uint8
    if is_picture:
        notes.append(_about_size(*example.shape[:2]))
    elif rule.mixup:
        notes.append(
            f"Inputs of {prod(example.shape):,} tokens cannot be mixed, so mixup {rule.mixup:g} is left out."
        )
    return tuple(notes)


def _about_size(height: int, width: int) -> str:
    small, large = sizes_for(1, 1), sizes_for(96, 96)
    for resized, cropped in (small, large):
        if height == width == cropped:
            return (
                f"Pictures are {height} × {width}, as the rule crops them; in training they are varied as by every "
                f"recipe, in place of crops out of {resized} × {resized}."
            )
    told = " → ".join(map(str, small)), " → ".join(map(str, large))
    return (
        f"Pictures stay at the network's own {height} × {width}. The rule resizes and crops those under 96 × 96 pixels "
        f"to {told[0]}, others to {told[1]}; --set resize=rule does."
    )


HYPERRULE = HyperruleRecipe()
