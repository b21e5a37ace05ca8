"""The tutorials' head: a small network on the frozen features of the trunk, with hidden layers or without.

ReLU and dropout (Srivastava et al., *Dropout*, JMLR 15, 2014) after each hidden layer, Adam (Kingma and Ba,
arXiv 1412.6980). The weights are those that validation liked best. The features are computed once and kept, so no
input is varied. It sees no test row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from topwork.contracts import Array, FitJob, Fitted, LinearHead
from topwork.recipes.first_rung import FirstRung
from topwork.recipes.result import calibrated
from topwork.recipes.resuming import course_of, plan_without_rungs
from topwork.recipes.settings import require
from topwork.recipes.stretch import check_every, run
from topwork.training.draws import drawn_by
from topwork.training.plan import BATCH, RungPlan

if TYPE_CHECKING:
    import torch

    from topwork.training.feeds import CutFeed
    from topwork.training.trainee import Trainee

__all__ = ["HEAD", "HeadRecipe", "HeadSettings"]

_MOST_HIDDEN = 2


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """What the head is and how it is trained.

    Attributes
    ----------
    hidden
        Widths of the hidden layers from the features up, two at most.
    dropout
        Share of a hidden layer's outputs that a step leaves out.
    epochs
        Passes over the training rows.
    rate
        Peak rate of Adam, in one cycle.
    """

    hidden: tuple[int, ...] = (512,)
    dropout: float = 0.5
    epochs: int = 30
    rate: float = 1e-3

    def __post_init__(self) -> None:
        allowed = {
            "hidden": (
                len(self.hidden) <= _MOST_HIDDEN and all(width >= 1 for width in self.hidden),
                f"at most {_MOST_HIDDEN} widths of 1 or more",
            ),
            "dropout": (0 <= self.dropout < 1, "0 or more and less than 1"),
            "epochs": (self.epochs >= 1, "1 or more"),
            "rate": (self.rate > 0, "more than 0"),
        }
        require(self, allowed)


@dataclass(frozen=True, slots=True)
class HeadRecipe:
    """A head with hidden layers on cached features."""

    settings: HeadSettings = field(default_factory=HeadSettings)
    name: str = "head"
    requires: frozenset[str] = frozenset({"pooled"})

    def __call__(self, job: FitJob) -> Fitted:
        """Train the head, and give back what validation liked best; the probe where there was no time."""
        first = FirstRung.of(job)
        mean, deviation = _spread(job.features[job.folds[0].train])
        feed = _feed(job, mean, deviation)
        with drawn_by(job.seed, "cpu"):  # what layers begin with
            trained = _trainee(job, self.settings), feed
            now = plan_without_rungs(job, f"{self.name}: {self.settings}", bf16=False)
            course = course_of(job, now, lambda: (self._plan(job), 0.0))
            outcome, history = run(job, trained, course, bf16=False)
        if not outcome.weights:
            return first.in_place_of(self.name, outcome)
        head_of = partial(_head, mean=mean, deviation=deviation)
        seconds = job.budget.clock() - first.ended_s
        fitted = calibrated(job, outcome, self.name, seconds, first.losses, head_of=head_of)
        rung = replace(fitted.rungs[0], trained_share=0.0)
        return replace(fitted, rungs=(first.rung, rung), notes=first.probe.notes, history=history)

    def _plan(self, job: FitJob) -> RungPlan:
        n_train = len(job.folds[0].train)
        batch = min(BATCH, n_train)
        per_epoch = max(1, n_train // batch)
        n_steps = job.n_steps or self.settings.epochs * per_epoch
        return RungPlan(
            name=self.name,
            n_below=0,
            n_steps=n_steps,
            batch=batch,
            rates=(self.settings.rate,),
            check_every=check_every(n_steps, per_epoch),
            smoothing=0.0,
            weight_decay=0.0,  # without it AdamW is Adam
            average_decay=0.0,
        )


def _spread(features: Array) -> tuple[Array, Array]:
    """Return mean and deviation ``float32 [d]`` of each feature; 1 for one that never changes."""
    deviation = features.std(axis=0)
    return features.mean(axis=0), np.where(deviation > 1e-6, deviation, 1).astype(np.float32)


def _feed(job: FitJob, mean: Array, deviation: Array) -> CutFeed:
    """Return standardised features as batches: one variant of each row, for there are no others."""
    import torch

    from topwork.training.feeds import CutFeed

    fold = job.folds[0]
    z = torch.from_numpy(((job.features - mean) / deviation).astype(np.float32))
    return CutFeed(z[torch.from_numpy(fold.train)][None], z[torch.from_numpy(fold.valid)])


def _trainee(job: FitJob, settings: HeadSettings) -> Trainee:
    """Return heads alone, every layer as it is drawn."""
    from topwork.training.trainee import Trainee

    n_features = job.features.shape[1]
    heads = {name: _layers(n_features, goal.n_outputs, settings) for name, goal in job.goals.items()}

    def set_training(on: bool) -> None:
        for head in heads.values():
            head.train(on)

    return Trainee(lambda z: z, (), heads, set_training=set_training)


def _layers(n_features: int, n_outputs: int, settings: HeadSettings) -> torch.nn.Sequential:
    import torch

    layers: list[torch.nn.Module] = []
    width = n_features
    for wide in settings.hidden:
        layers += [torch.nn.Linear(width, wide), torch.nn.ReLU(), torch.nn.Dropout(settings.dropout)]
        width = wide
    return torch.nn.Sequential(*layers, torch.nn.Linear(width, n_outputs))


def _head(weights: Mapping[str, torch.Tensor], target: str, *, mean: Array, deviation: Array) -> LinearHead:
    """Return the layers of a target as one head on the features as they are, not standardised."""
    start, end = f"heads.{target}.", ".weight"
    places = sorted(
        int(key[len(start) : -len(end)]) for key in weights if key.startswith(start) and key.endswith(end)
    )
    layers = [
        LinearHead(weights[f"{start}{place}.weight"].numpy(), weights[f"{start}{place}.bias"].numpy())
        for place in places
    ]
    weight = (layers[0].weight / deviation).astype(np.float32)
    layers[0] = LinearHead(weight, (layers[0].bias - weight @ mean).astype(np.float32))
    return replace(layers[-1], hidden=tuple(layers[:-1]))


HEAD = HeadRecipe()
