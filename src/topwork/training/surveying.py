"""What training a network would take, from a trial on a few rows: seconds of each kind of step, and memory.

Nothing is trained by it: gradients are thrown away and no weight changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from typing import Any

import torch

from topwork.training.cutting import Above, Below
from topwork.training.folding import precision_of
from topwork.training.plan import BATCH, MOST_VARIANTS, RungPlan, Speed
from topwork.training.trainee import Trainee
from topwork.training.trial import kept_bytes, parts_of, seconds_of, variants_of

__all__ = ["Shape", "Subject", "Survey", "at_cut", "survey", "trial_rows"]

_COPIES = 7
"""Weights, gradients, two moments, the average, the best so far, and what a checkpoint holds while it is written."""


_FEW = 8


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is surveyed.

    Attributes
    ----------
    batch
        A few training rows as the network is given them, on the device where it is.
    parts
        The network in two where it can be cut, else None.
    trainee
        What is trained above so many frozen stages.
    n_train, n_valid
        Rows of the whole job.
    largest
        The row that takes the most memory, as a batch of its own, where rows differ in size; ``batch`` then has rows
        of about the mean size.
    most_variants
        How many variants of a row differ at most.
    decode_s
        Seconds that decoding one row takes of all threads together.
    memory_bytes
        Memory of that device that may be filled; 0 where it is not known.
    """

    network: torch.nn.Module
    batch: torch.Tensor
    parts: tuple[Below, Above] | None
    trainee: Callable[[int], Trainee]
    n_below: int
    n_train: int
    n_valid: int
    bf16: bool
    memory_bytes: int
    decode_s: float = 0.0
    largest: torch.Tensor | None = None
    most_variants: int = MOST_VARIANTS


@dataclass(frozen=True, slots=True)
class Shape:
    """How a step must be computed for its activations to fit into memory."""

    n_parts: int
    recompute: bool


@dataclass(frozen=True, slots=True)
class Survey:
    """What the trial found.

    Attributes
    ----------
    whole, upper
        How a step must be computed with all stages, and with those above the cut alone.
    kept_bytes
        What a step with all stages keeps of one example.
    cut_bytes
        One activation at the cut; 0 where the network cannot be cut.
    state_bytes
        What weights, gradients, moments and averages take in all.
    """

    speed: Speed
    whole: Shape
    upper: Shape | None
    kept_bytes: int
    cut_bytes: int
    state_bytes: int

    def shape_of(self, rung: RungPlan) -> Shape:
        """Return how the steps of a rung must be computed."""
        return self.upper if rung.n_below and self.upper is not None else self.whole

    def training_bytes(self, n_train: int, n_variants: int) -> int:
        """Return what training adds to the process at its peak, apart from decoded inputs."""
        step = ceil(BATCH / self.whole.n_parts) * self.kept_bytes
        at_cut = (n_train * n_variants + self.speed.n_valid) * self.cut_bytes if n_variants else 0
        return at_cut + step + self.state_bytes


def trial_rows(device: str) -> int:
    """Return how many rows to try: few say it on a processor; a GPU takes about as long for one as for many."""
    return _FEW if device == "cpu" else BATCH


def survey(subject: Subject) -> Survey:
    """Time and measure steps of either kind."""
    batch, per_row = subject.batch, 1 / len(subject.batch)
    device = batch.device
    with torch.no_grad(), precision_of(bf16=subject.bf16, device=device.type):
        seconds = seconds_of(lambda: subject.network(batch), device)
    look_s = (seconds * per_row + subject.decode_s) * subject.n_valid
    state = _COPIES * sum(p.numel() * p.element_size() for p in subject.network.parameters())
    largest = batch[:1] if subject.largest is None else subject.largest
    all_s, kept, whole = _step(subject, 0, (batch, largest), state)
    decode_s = subject.decode_s * subject.n_train
    if subject.parts is None:
        speed = Speed(all_s, 0.0, 0.0, look_s, n_valid=subject.n_valid, decode_s=decode_s)
        return Survey(speed, whole, None, kept, 0, state)
    below = subject.parts[0]
    fill_s = seconds_of(lambda: at_cut(below, batch, bf16=subject.bf16), device) * per_row * subject.n_train
    activation, most = (at_cut(below, one, bf16=subject.bf16) for one in (batch, largest))
    top_s, _, upper = _step(subject, subject.n_below, (activation, most), state)
    cut_bytes = activation[0].numel() * activation.element_size()
    of_train, of_valid = cut_bytes * subject.n_train, cut_bytes * subject.n_valid
    n_variants = variants_of(subject.most_variants, of_train, of_valid, subject.memory_bytes)
    speed = Speed(all_s, top_s, fill_s, look_s, n_variants, subject.n_valid, decode_s)
    return Survey(speed, whole, upper, kept, cut_bytes, state)


def at_cut(below: Callable[[torch.Tensor], Any], batch: torch.Tensor, *, bf16: bool) -> torch.Tensor:
    """Compute the activations that frozen stages hand on."""
    with torch.no_grad(), precision_of(bf16=bf16, device=batch.device.type):
        activation: torch.Tensor = below(batch)
    return activation


def _step(
    subject: Subject, n_below: int, batches: tuple[torch.Tensor, torch.Tensor], state_bytes: int
) -> tuple[float, int, Shape]:
    """Return seconds of a whole step, bytes kept of an example, and the shape of steps that this asks for.

    The largest example shows what is kept of it before several are tried at once. Where that is too much for a GPU
    after all, half as many are tried.
    """
    (batch, largest), trainee = batches, subject.trainee(n_below)
    kept = kept_bytes(trainee, largest.float() if largest.is_floating_point() else largest)
    left_bytes = max(1, subject.memory_bytes - state_bytes) if subject.memory_bytes else 0
    shape = Shape(*parts_of(BATCH, kept, left_bytes))
    while True:
        part = batch[: ceil(BATCH / shape.n_parts)]
        try:
            per_row = seconds_of(
                partial(_back_and_forth, trainee, part, bf16=subject.bf16), part.device
            ) / len(part)
        except torch.OutOfMemoryError:
            if len(part) == 1:
                raise
            shape = replace(shape, n_parts=ceil(BATCH / (len(part) // 2)))
        else:
            return per_row * min(BATCH, subject.n_train), kept, shape


def _back_and_forth(trainee: Trainee, batch: torch.Tensor, *, bf16: bool) -> None:
    """Compute a step that changes nothing."""
    try:
        with precision_of(bf16=bf16, device=batch.device.type):
            features = trainee.features(batch)
        features.float().square().mean().backward()  # type: ignore[no-untyped-call]
    finally:
        for p in trainee.named().values():
            p.grad = None
