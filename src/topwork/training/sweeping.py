"""A sweep of the learning rate: a few steps at rates that grow from far too low to far too high, then all is undone.

Smith, *Cyclical Learning Rates for Training Neural Networks*, arXiv 1506.01186, section 3.3. Afterwards every weight is
as it was. It knows no recipe and reads nothing out of the curve: see `suggestions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from topwork.contracts import Array, Goal
from topwork.training.loop import Control, loss_of_part, optimiser_of
from topwork.training.mixing import Part, parts_of
from topwork.training.ordering import order_of
from topwork.training.plan import RungPlan
from topwork.training.schedules import exponential
from topwork.training.trainee import Feed, Trainee, put

__all__ = ["Sweep", "SweepSettings", "random_states_kept", "sweep", "weights_kept"]


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """How a sweep goes.

    Attributes
    ----------
    lowest, highest
        Rates at which it begins and would end.
    n_steps
        Steps from one to the other.
    smoothing
        How much of the running mean of the loss stays at each step.
    explodes
        It ends where that mean is so many times its lowest value.
    seed
        Of the order of the rows.
    """

    lowest: float = 1e-7
    highest: float = 10.0
    n_steps: int = 100
    smoothing: float = 0.98
    explodes: float = 4.0
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """Rates ``float64 [n]`` and smoothed losses ``float64 [n]``; ``ended`` is ``done``, ``exploded`` or ``stopped``."""

    rates: Array
    losses: Array
    ended: str


def sweep(
    rung: RungPlan,
    trainee: Trainee,
    feed: Feed,
    goals: Mapping[str, Goal],
    control: Control,
    *,
    settings: SweepSettings,
) -> Sweep:
    """Sweep the rate and put every weight back.

    Parameters
    ----------
    rung
        Batch, and the shares that stages and heads have of the rate in place of their peak rates.
    goals
        Of the training rows.
    control
        Asked before every step whether to stop, and told after it.
    """
    rung = replace(rung, n_steps=settings.n_steps)
    rates: list[float] = []
    losses: list[float] = []
    mean, ended = 0.0, "done"
    with weights_kept(trainee):
        optimiser = optimiser_of(rung, trainee)
        batches = feed.batches(order_of(rung, feed.n_train, 0, (settings.seed, 0), sizes=feed.train_sizes))
        for step, (rows, tensors) in enumerate(batches):
            if control.should_stop():
                ended = "stopped"
                break
            rate = exponential(step / max(1, rung.n_steps - 1), settings.lowest, settings.highest)
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * rate
            loss = _step(rung, trainee, optimiser, parts_of(tensors, rows, rung, ()), goals, control.bf16)
            control.advance(1)
            mean = settings.smoothing * mean + (1 - settings.smoothing) * loss
            smooth = mean / (1 - settings.smoothing ** (step + 1))  # it began at zero
            if not np.isfinite(smooth) or (losses and smooth > settings.explodes * min(losses)):
                ended = "exploded"
                break
            rates.append(rate)
            losses.append(smooth)
    return Sweep(np.array(rates), np.array(losses), ended)


def _step(
    rung: RungPlan,
    trainee: Trainee,
    optimiser: torch.optim.Optimizer,
    parts: Iterable[Part],
    goals: Mapping[str, Goal],
    bf16: bool,
) -> float:
    """Take one step and return the loss before it."""
    optimiser.zero_grad(set_to_none=True)
    total = 0.0
    for part in parts:
        loss = loss_of_part(trainee, part, goals, rung.smoothing, bf16)
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    if rung.largest_gradient:
        torch.nn.utils.clip_grad_norm_(list(trainee.named().values()), rung.largest_gradient)
    optimiser.step()
    return total


@contextmanager
def weights_kept(trainee: Trainee) -> Iterator[None]:
    """Put every weight and moving tensor back at the end, and leave no gradient."""
    before = {name: tensor.detach().clone() for name, tensor in trainee.state().items()}
    try:
        yield
    finally:
        put(trainee.state(), before)
        for p in trainee.named().values():
            p.grad = None


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Put the random states of torch, its GPUs and NumPy back at the end: building a network draws from them."""
    devices = list(range(torch.cuda.device_count()))
    numpy_state = np.random.get_state()
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
