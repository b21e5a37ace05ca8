"""What each of several targets weighs in the loss of a step: a log variance of each, trained along with the network.

Kendall, Gal and Cipolla, *Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics*,
arXiv 1705.07115. A target's loss L counts as exp(-s) · L + s / 2. At its best s that is (1 + log 2L) / 2, so what is
minimised is the mean of the losses' logarithms, and no unit of a loss makes a difference. For numbers the paper has
half the factor before L; that moves s by log 2 and changes nothing else. Liebel and Körner, *Auxiliary Tasks in
Multi-task Learning*, arXiv 1805.06334, write log(1 + exp(s)) in place of s / 2 so that the sum stays above zero; then a
small loss weighs less than a large one, and the unit counts again. Here a least variance keeps the sum from running
away.

It knows no link and no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import Final

import torch

from topwork.training.checkpoint import FACTORS, Checkpoint

__all__ = ["Balance"]

_RATE: Final = 0.02
"""Of Adam, at every step: about the longest step of s. Losses fall a little at a time; batches are noisy."""
_LEAST: Final = 0.01
"""Below this loss a target weighs no more than at it."""
_MOMENTS: Final = {"exp_avg": "first", "exp_avg_sq": "second"}
_PREFIX: Final = "balance."


class Balance:
    """Log variances ``float32 [t]`` of the targets, in their order, and what trains them; nothing decays them.

    Parameters
    ----------
    losses
        What each target costs at the beginning. Every s begins where it is best for that, for most fits are too short
        to find it from elsewhere.
    device
        Where the network is trained.
    """

    def __init__(self, losses: Sequence[float], device: torch.device) -> None:
        begin = [_best(one) for one in losses]
        self.logs = torch.tensor(begin, dtype=torch.float32, device=device, requires_grad=True)
        self._optimiser = torch.optim.Adam([self.logs], lr=_RATE)

    def weigh(self, losses: Sequence[torch.Tensor], shares: Sequence[float]) -> torch.Tensor:
        """Return what a part of a step adds to its loss: the mean over the targets.

        Parameters
        ----------
        losses
            Of the part's rows, by target.
        shares
            Of the step's rows with a truth of the target, those in the part. Of a target that no row of the step has
            a truth of it is 0, and then nothing pulls at its s.
        """
        each = torch.exp(-self.logs) * torch.stack(list(losses)) + self.logs / 2
        return (each * torch.tensor(shares, dtype=torch.float32, device=self.logs.device)).mean()

    def clear(self) -> None:
        """Forget the gradient of the step before."""
        self._optimiser.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Move every s along its gradient."""
        self._optimiser.step()
        with torch.no_grad():
            self.logs.clamp_(min=_best(0.0))

    def factors(self) -> tuple[float, ...]:
        """Return what each target's loss is multiplied by now, relative to the mean of the targets."""
        each = torch.exp(-self.logs.detach()).cpu()
        return tuple((each / each.mean()).tolist())

    def kept_in(self, state: Checkpoint) -> Checkpoint:
        """Return a checkpoint that holds this balance as well."""
        own = {"logs": self.logs.detach()} | {
            short: self._optimiser.state[self.logs][name] for name, short in _MOMENTS.items()
        }
        tensors = {**state.tensors, **{_PREFIX + name: one for name, one in own.items()}}
        return Checkpoint(tensors, {**state.values, FACTORS: list(self.factors())})

    def restore(self, found: Checkpoint) -> None:
        """Go on as `kept_in` left it."""
        kept: Mapping[str, torch.Tensor] = found.under(_PREFIX)
        with torch.no_grad():
            self.logs.copy_(kept["logs"])
        self._optimiser.state[self.logs] = {
            "step": torch.tensor(float(found.values["n_steps"])),
            **{name: torch.empty_like(self.logs).copy_(kept[short]) for name, short in _MOMENTS.items()},
        }


def _best(loss: float) -> float:
    """Return the log variance at which a loss weighs what it should."""
    return log(2 * max(loss, _LEAST))
