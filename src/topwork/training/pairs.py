"""Contrastive tuning: inputs of one class are drawn together and those of different classes apart, pair by pair.

Each pair's cosine is to be 1 where both inputs are of one class and 0 where they are not (Reimers and Gurevych,
*Sentence-BERT*, arXiv 1908.10084, section 3; Tunstall et al., *Efficient Few-Shot Learning Without Prompts*, SetFit,
arXiv 2209.11055, section 3.1). SetFit draws pairs and computes both inputs of each; here every input of a batch is
computed once and all pairs of the batch are taken from there, so that a step of n inputs has n(n - 1)/2 pairs. It
knows no architecture, no modality and no labels' names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Protocol

import numpy as np
import torch

from topwork.contracts import Array
from topwork.training.folding import precision_of

__all__ = ["States", "Tuning", "batches", "pair_loss", "tune"]

_EVENLY = 0.5
"""Of the loss is that of the pairs of one class, however many there are; the rest is that of the others."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """How long and how gently.

    Attributes
    ----------
    n_steps
        Optimiser steps.
    batch
        Inputs of a step at most; where there are no more, every step takes all of them.
    rate
        Peak rate of AdamW.
    warmup
        Share of the steps in which the rate goes up along a line; along another it falls to 0.
    weight_decay
        Of AdamW.
    """

    n_steps: int
    batch: int
    rate: float
    warmup: float = 0.1
    weight_decay: float = 0.01

    def rate_at(self, step: int) -> float:
        """Return the rate of a step, counted from 0."""
        rising = (step + 1) / max(1.0, self.warmup * self.n_steps)
        return self.rate * min(1.0, rising) * (1 - step / self.n_steps)


class States(Protocol):
    """Activations at a cut by row, as `topwork.training.feeds.fill` keeps them."""

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        """Return those of some rows as one batch."""
        ...


def pair_loss(features: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return the mean squared distance of each pair's cosine from 1 or 0, pairs of either kind weighing the same.

    Parameters
    ----------
    features
        ``float [n, d]``.
    truth
        ``int64 [n]``, class numbers.
    """
    unit = torch.nn.functional.normalize(features.float(), dim=1)
    same = (truth[:, None] == truth[None, :]).float()
    off = (unit @ unit.T - same).square()
    pairs = 1 - torch.eye(len(truth), device=features.device)
    alike, apart = same * pairs, 1 - same
    of_alike, of_apart = ((off * kind).sum() / kind.sum().clamp(min=1) for kind in (alike, apart))
    return _EVENLY * of_alike + (1 - _EVENLY) * of_apart


def batches(truth: Array, tuning: Tuning, seed: int) -> Iterator[Array]:
    """Yield the rows of each step: all of them, or in each pass as few parts as it takes.

    Each part has its share of every class as far as the rows go.

    Parameters
    ----------
    truth
        ``int64 [n]``, class numbers.
    """
    n_parts = ceil(len(truth) / tuning.batch)
    for step in range(tuning.n_steps):
        epoch, place = divmod(step, n_parts)
        if not place:
            shuffled = np.random.default_rng([seed, epoch]).permutation(len(truth))
            dealt = shuffled[np.argsort(truth[shuffled], kind="stable")]
        yield dealt[place::n_parts]


def tune(
    features: Callable[[torch.Tensor], torch.Tensor],
    parameters: Sequence[torch.nn.Parameter],
    inputs: tuple[States, Array, Array],
    tuning: Tuning,
    *,
    seed: int,
    bf16: bool,
    should_stop: Callable[[], bool] = bool,
) -> bool:
    """Train the parameters in place; tell whether it came to the end.

    Parameters
    ----------
    features
        Maps a batch of states to ``[n, d]``.
    inputs
        States, the rows of them that are trained on, ``int64 [n]``, and the class number of each of those.
    should_stop
        Asked before each step.
    """
    states, rows, truth = inputs
    optimiser = torch.optim.AdamW(parameters, lr=tuning.rate, weight_decay=tuning.weight_decay, fused=True)
    for step, places in enumerate(batches(truth, tuning, seed)):
        if should_stop():
            return False
        for group in optimiser.param_groups:
            group["lr"] = tuning.rate_at(step)
        batch = states[torch.from_numpy(rows[places])]
        with precision_of(bf16=bf16, device=batch.device.type):
            found = features(batch)
        loss = pair_loss(found, torch.from_numpy(truth[places]).to(found.device))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return True
