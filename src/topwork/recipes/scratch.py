"""From scratch: the same network with random weights, trained for a given time; what the ladder is measured against.

What pretraining is worth on a data set is the difference between this and the ladder after equal time. Normalisation
is trained too, for it has nothing to be frozen at; the rest is as in the ladder: the same variants, the same
averaging of weights, the best of several looks at validation.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from topwork.contracts import FitJob, Fitted, LinearHead, Material, Resources, Rung
from topwork.recipes.result import after, calibrated, held_out_of
from topwork.recipes.resuming import passing
from topwork.recipes.stretch import Stretch, later, material_of, run, step_seconds, zero_heads
from topwork.training.draws import drawn_by
from topwork.training.judging import loss_name
from topwork.training.plan import BATCH, RungPlan

if TYPE_CHECKING:
    from topwork.training.loop import Outcome
    from topwork.training.trainee import Trainee

__all__ = ["SCRATCH", "ScratchRecipe", "ScratchSettings"]

_NUMBER = 0
"""Of the rung, so that rows come in another order than on any rung of the ladder."""


@dataclass(frozen=True, slots=True)
class ScratchSettings:
    """``rate``: peak learning rate of every layer; ``epochs``: length where no time is given."""

    rate: float = 3e-3
    epochs: int = 30
    reserve_s: float = 1.0


@dataclass(frozen=True, slots=True)
class ScratchRecipe:
    """All layers from random weights."""

    settings: ScratchSettings = field(default_factory=ScratchSettings)
    name: str = "scratch"
    requires: frozenset[str] = frozenset({"pooled"})

    def __call__(self, job: FitJob) -> Fitted:
        """Train until the time is used up, and give back the best of the looks at validation."""
        from topwork.training.devices import at_work

        material = material_of(job, self.name)
        with at_work(material.resources.device):
            return self._train(job, material)

    def _train(self, job: FitJob, material: Material) -> Fitted:
        clock = job.budget.clock
        began_s = clock()
        stretch = _drawn(job, material)
        rung, kept_back_s = self._plan(stretch)
        offset_s, trained = clock() - began_s, (stretch.trainee, stretch.feed)
        course = passing(job, rung, kept_back_s)
        outcome, seen = run(job, trained, course, bf16=stretch.bf16, number=_NUMBER)
        seconds = clock() - began_s
        if outcome.weights:
            fitted = calibrated(job, outcome, self.name, seconds)
        else:
            fitted = _ignorant(job, outcome, self.name, seconds)
        return replace(fitted, history=tuple(later(one, offset_s, 0, self.name) for one in seen))

    def _plan(self, stretch: Stretch) -> tuple[RungPlan, float]:
        """Make one cycle that ends when the time does, and tell how much of that is to be left in the end."""
        job, n_train = stretch.job, stretch.feed.n_train
        batch = min(BATCH, n_train)
        per_epoch = max(1, n_train // batch)
        n_steps, kept_back_s = job.n_steps or self.settings.epochs * per_epoch, 0.0
        if job.n_steps is None and job.budget.remaining_s() < float("inf"):
            step_s = step_seconds(stretch, batch)
            kept_back_s = job.afterwards.seconds(step_s / batch)
            n_steps = max(1, int((job.budget.remaining_s() - kept_back_s) / step_s))
        rung = RungPlan(
            name="from scratch",
            n_below=0,
            n_steps=n_steps,
            batch=batch,
            rates=(*(self.settings.rate for _ in stretch.trainee.stages), self.settings.rate),
            check_every=max(1, min(per_epoch * 2, n_steps // 5)),
            average_decay=0.0,  # averaged weights and averaged statistics of early steps do not belong together
        )
        return rung, self.settings.reserve_s + kept_back_s


def _computes_in_bf16(resources: Resources) -> bool:
    """Return whether to; a processor is slow at it where normalisation is not folded."""
    return resources.device != "cpu" and resources.has_fast_bf16


def _drawn(job: FitJob, material: Material) -> Stretch:
    """Return the network with every layer drawn anew by its own default, and heads of zeros."""
    import torch

    from topwork.training.feeds import feed_of

    resources = material.resources
    torch.set_num_threads(resources.n_threads)
    network: Any = material.network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with drawn_by(job.seed, "cpu"):
        for module in network.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
    network.to(resources.device)
    feed = feed_of(material, job.folds[0], job.seed)
    return Stretch(job, _trainee(job, material, network), feed, _computes_in_bf16(resources))


def _trainee(job: FitJob, material: Material, network: Any) -> Trainee:
    """Return all of the network, the statistics of its normalisation too."""
    from topwork.training.trainee import Trainee

    names = {id(p): name for name, p in network.named_parameters()}
    stages = tuple(
        {names[id(p)]: p for module in stage.modules for p in module.parameters()}
        for stage in material.stages(network)
    )
    moving = {
        name: b
        for name, b in network.named_buffers()
        if b.dtype.is_floating_point and name in network.state_dict()
    }
    for p in network.parameters():
        p.requires_grad_()
    network.train()
    heads = {name: head.to(material.resources.device) for name, head in zero_heads(job).items()}
    return Trainee(network, stages, heads, moving, network.train)


def _ignorant(job: FitJob, outcome: Outcome, name: str, seconds: float) -> Fitted:
    """Return heads of zeros where no look was finished: what is drawn at random knows nothing."""
    n_features = job.features.shape[1]
    heads = {
        target: LinearHead(
            np.zeros((goal.n_outputs, n_features), np.float32), np.zeros(goal.n_outputs, np.float32)
        )
        for target, goal in job.goals.items()
    }
    rung = Rung(name, seconds, float("nan"), trained_share=1.0, chosen=True, loss_name=loss_name(job.goals))
    return Fitted(heads, held_out_of(job, {}), rungs=(after(rung, outcome),))


SCRATCH = ScratchRecipe()
