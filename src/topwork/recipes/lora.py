"""Adapters: the network stays as it is, a few weights beside each of its layers are trained, and merged in the end.

Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models*, arXiv 2106.09685, and other kinds of the PEFT library.
The head is first fitted on frozen features, one cycle of the learning rate, and the weights are those that validation
liked best, all as in the recipe full. It sees no test row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from topwork.contracts import FitJob, Fitted, Rates
from topwork.recipes.adapters import KINDS, Adapter, Merged, Shape, attach
from topwork.recipes.first_rung import FirstRung
from topwork.recipes.result import calibrated
from topwork.recipes.settings import require
from topwork.recipes.stretch import (
    Stretch,
    course_of_all,
    examples,
    material_of,
    planned,
    probe_heads,
    train_stretch,
)
from topwork.training.draws import drawn_by
from topwork.training.plan import BATCH, RungPlan

__all__ = ["LORA", "LoraRecipe", "LoraSettings", "lora_rung"]


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """What is put beside the layers, how long it is trained, and how gently.

    Attributes
    ----------
    kind, rank, alpha, dropout, layers
        See `topwork.recipes.adapters.Shape`.
    epochs
        Passes over the training rows.
    rate
        Peak rate of the adapter; 5e-4 is what Hu et al. give for RoBERTa base (table 9). The heads keep the trunk's.
    warmup
        Share of the steps in which the rates go up.
    weight_decay
        Of AdamW.
    smoothing
        Label smoothing.
    """

    kind: str = "lora"
    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    layers: str = "all"
    epochs: int = 10
    rate: float = 5e-4
    warmup: float = 0.2
    weight_decay: float = 0.01
    smoothing: float = 0.1

    def __post_init__(self) -> None:
        allowed = {
            "kind": (self.kind in KINDS, f"one of {', '.join(KINDS)}"),
            # Reflections change nothing at first because each comes twice.
            "rank": (self.rank >= 1, "1 or more")
            if self.kind != "hra"
            else (self.rank >= 2 and self.rank % 2 == 0, "an even number for the kind hra"),
            "alpha": (self.alpha > 0, "more than 0"),
            "dropout": (0 <= self.dropout < 1, "0 or more and less than 1"),
            "layers": (bool(self.layers.strip()), "all, or ends of layers' names"),
            "epochs": (self.epochs >= 1, "1 or more"),
            "rate": (self.rate > 0, "more than 0"),
            "warmup": (0 <= self.warmup < 1, "0 or more and less than 1"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "smoothing": (0 <= self.smoothing < 1, "0 or more and less than 1"),
        }
        require(self, allowed)

    @property
    def shape(self) -> Shape:
        """Return what is put beside each layer."""
        return Shape(self.kind, self.rank, self.alpha, self.dropout, self.layers)


@dataclass(frozen=True, slots=True)
class LoraRecipe:
    """Adapters on a frozen network."""

    settings: LoraSettings = field(default_factory=LoraSettings)
    name: str = "lora"
    requires: frozenset[str] = frozenset({"pooled"})

    def __call__(self, job: FitJob) -> Fitted:
        """Train adapter and heads, merge, and give back what validation liked best; the probe if time was short."""
        from topwork.training.devices import at_work

        material, first = material_of(job, self.name, keeps=True), FirstRung.of(job)
        device, merged = material.resources.device, Merged({}, {})
        with at_work(device), drawn_by(job.seed, device):
            stretch, adapter = self._attached(job, first.strengths)
            rung = lora_rung(self.settings, material.rates, min(BATCH, stretch.feed.n_train))
            plan = partial(planned, stretch, rung, self.settings.epochs)
            course = course_of_all(stretch, f"{self.name}: {self.settings}", plan)
            outcome, history = train_stretch(stretch, course)
            if outcome.weights:
                merged = adapter.merge(outcome.weights, examples(job, 2).to(device))
        if not outcome.weights:
            return first.in_place_of(self.name, outcome)
        seconds = job.budget.clock() - first.ended_s
        fitted = calibrated(job, outcome, self.name, seconds, first.losses)
        n_base = sum(p.numel() for p in adapter.network.parameters())
        trained = replace(fitted.rungs[0], trained_share=adapter.n_weights / n_base)
        return replace(
            fitted,
            weights=merged.tensors,
            products=merged.products,
            rungs=(first.rung, trained),
            notes=(*first.probe.notes, _note(adapter, n_base)),
            history=history,
        )

    def _attached(self, job: FitJob, strengths: Mapping[str, float]) -> tuple[Stretch, Adapter]:
        """Make the network ready with its adapter: nothing of it is trained but that."""
        import torch

        from topwork.training.feeds import feed_of
        from topwork.training.trainee import Trainee

        assert job.material is not None
        material, rows, resources = job.material, job.folds[0], job.material.resources
        torch.set_num_threads(resources.n_threads)
        network = material.network()
        adapter = attach(network, examples(job, 2), self.settings.shape)
        network.to(resources.device)
        heads = {name: head.to(resources.device) for name, head in probe_heads(job, rows, strengths).items()}
        trainee = Trainee(network, (adapter.parameters,), heads, set_training=adapter.set_training)
        return Stretch(job, trainee, feed_of(material, rows, job.seed), resources.has_fast_bf16), adapter


def lora_rung(settings: LoraSettings, rates: Rates, batch: int) -> RungPlan:
    """Return one step of the stretch; whoever trains says how many there are."""
    return RungPlan(
        name="lora",
        n_below=0,
        n_steps=1,
        batch=batch,
        rates=(settings.rate, rates.head),
        check_every=1,
        smoothing=settings.smoothing,
        weight_decay=settings.weight_decay,
        warmup=settings.warmup,
    )


def _note(adapter: Adapter, n_base: int) -> str:
    return (
        f"Trained were adapters of kind {adapter.shape.kind} on {len(adapter.layers):,} layers, {adapter.n_weights:,} "
        f"weights beside the network's {n_base:,}; they are merged into it."
    )


LORA = LoraRecipe()
