"""A network in two: what is frozen below a cut, and what is trained above it.

`Below` gives the activation at the cut, so that it can be computed once and kept; `Above` goes on from there.
Neither knows an architecture: both watch the whole network, or ask it where it is `Divisible`, and `cut` compares the
two parts with the whole before anybody relies on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from topwork.contracts import Divisible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from topwork.contracts import Stage

__all__ = ["Above", "Below", "cut"]

_AGREEMENT = 1e-3


class _ReachedError(Exception):
    """Carries the activation at the cut out of the network."""

    def __init__(self, activation: torch.Tensor) -> None:
        self.activation = activation


class Below(nn.Module):
    """The part of ``network`` before ``first``, the first module above the cut."""

    def __init__(self, network: nn.Module, first: nn.Module) -> None:
        super().__init__()
        self._network, self._first = [network], first  # a list, so that the parameters are not counted twice

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Map a raw batch to the activation at the cut."""
        network = self._network[0]
        if isinstance(network, Divisible):
            return network.below(batch, self._first)

        def leave(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            raise _ReachedError(inputs[0])

        hook = self._first.register_forward_pre_hook(leave)
        try:
            network(batch)
        except _ReachedError as reached:
            return reached.activation
        finally:
            hook.remove()
        raise RuntimeError("The network never came to its cut.")


class Above(nn.Module):
    """The part of ``network`` from ``first`` on; ``below`` are the modules of the stages before."""

    def __init__(
        self, network: nn.Module, first: nn.Module, below: Sequence[nn.Module], like: torch.Tensor
    ) -> None:
        super().__init__()
        self._network, self._first, self._below = [network], first, list(below)
        self._like = like

    def forward(self, activation: torch.Tensor) -> torch.Tensor:
        """Map the activation at the cut to features ``[n, n_features]``."""
        network = self._network[0]
        if isinstance(network, Divisible):
            return network.above(activation, self._first, self._below)

        def enter(_: nn.Module, __: Any) -> tuple[torch.Tensor]:
            return (activation,)

        hook = self._first.register_forward_pre_hook(enter)
        kept = [(module, module.__dict__.get("forward")) for module in self._below]
        for module in self._below:
            module.__dict__["forward"] = _same
        try:
            features: torch.Tensor = network(self._like)
            return features
        finally:
            hook.remove()
            for module, forward in kept:
                module.__dict__.pop("forward", None)
                if forward is not None:
                    module.__dict__["forward"] = forward


def cut(
    network: nn.Module, stages: Sequence[Stage], n_below: int, example: torch.Tensor
) -> tuple[Below, Above] | None:
    """Cut ``network`` above its ``n_below`` lowest stages; None where its stages are no simple chain.

    Parameters
    ----------
    network
        In evaluation mode; shared with both parts.
    example
        A raw batch, by which the parts are compared with the whole.
    """
    if not 0 < n_below < len(stages):
        return None
    first = stages[n_below].modules[0]
    lower = [module for stage in stages[:n_below] for module in stage.modules]
    below, above = Below(network, first), Above(network, first, lower, example[:1, :1, :1])
    try:
        with torch.no_grad():
            whole, parts = network(example), above(below(example))
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError):
        return None  # the forward pass does more than hand one tensor from stage to stage
    near = whole.shape == parts.shape and torch.allclose(
        whole, parts, rtol=_AGREEMENT, atol=_AGREEMENT * float(whole.abs().max())
    )
    return (below, above) if near else None


def _same(x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return x
