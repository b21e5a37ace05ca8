"""What it costs a language model to say texts: minus the logarithm of the probability that it gives their tokens.

It knows no library of networks: states and a head are given to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from topwork.contracts import Array
from topwork.training.folding import precision_of
from topwork.training.packing import NOTHING, Packed

__all__ = ["Speaker", "costs_of_pieces", "costs_of_states"]

_TOKENS_AT_ONCE = 256
"""Whose scores of all tokens are in memory at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Speaker:
    """A language model in two parts.

    Attributes
    ----------
    states
        Maps tokens and positions ``int64 [n, t]`` to ``[n, t, d]``.
    head
        Maps states ``[m, d]`` to scores ``[m, v]`` of all tokens.
    n_said
        Tokens that a row has to say on average; costs of rows are in units of so many tokens.
    """

    states: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    head: torch.nn.Module
    n_said: float = 1.0

    def costs(self, rows: torch.Tensor) -> torch.Tensor:
        """Return what each row costs, ``[n, 1]``, in nats for a token of an average row.

        Parameters
        ----------
        rows
            As `Packed.tensors`.
        """
        each, said = self._each(rows)
        row = said.nonzero()[:, 0]
        total = torch.zeros(len(rows), dtype=each.dtype, device=each.device).index_add(0, row, each)
        return (total / self.n_said)[:, None]

    def _each(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what each token costs that is to be said, in order, and where these stand, ``bool [n, t]``."""
        tokens, positions, wanted = rows.unbind(1)
        said = wanted != NOTHING
        return costs_of_states(self.head, self.states(tokens, positions)[said], wanted[said]), said

    def costs_of_tokens(self, rows: torch.Tensor) -> Array:
        """Return what each token costs, ``float64 [n, t]``; NaN where none is to be said."""
        each, said = self._each(rows)
        found = np.full(said.shape, np.nan)
        found[said.cpu().numpy()] = each.double().cpu().numpy()
        return found


def costs_of_states(head: torch.nn.Module, states: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return what it costs to say tokens ``wanted [m]`` after states ``[m, d]``, ``[m]`` in nats.

    Scores of all tokens are the largest thing in training a small language model. Of a head that is frozen, a few
    tokens' are computed at a time, and what the gradient needs of them at once, so that none are kept (as in Hsu et
    al., *Liger Kernel*, arXiv 2410.10989).
    """
    if not isinstance(head, torch.nn.Linear) or head.bias is not None or head.weight.requires_grad:
        return torch.nn.functional.cross_entropy(head(states).float(), wanted, reduction="none")
    device = states.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype
    with torch.autocast(device, enabled=False):
        weight: torch.Tensor = head.weight.detach().to(dtype)
        found: torch.Tensor = _Costs.apply(states.to(dtype), weight, wanted)
        return found


class _Costs(torch.autograd.Function):
    """See `costs_of_states`; ``states [m, d]``, ``weight [v, d]``, ``wanted [m]``."""

    @staticmethod
    def forward(
        context: Any, states: torch.Tensor, weight: torch.Tensor, wanted: torch.Tensor
    ) -> torch.Tensor:
        costs = torch.empty(len(states), dtype=torch.float32, device=states.device)
        slopes = torch.empty_like(states) if context.needs_input_grad[0] else None
        for begin in range(0, len(states), _TOKENS_AT_ONCE):
            some = slice(begin, begin + _TOKENS_AT_ONCE)
            logs = torch.log_softmax((states[some] @ weight.t()).float(), dim=-1)
            costs[some] = -logs.gather(1, wanted[some, None])[:, 0]
            if slopes is not None:
                slope = logs.exp_()
                slope[torch.arange(len(slope), device=slope.device), wanted[some]] -= 1.0
                slopes[some] = slope.to(weight.dtype) @ weight
        context.save_for_backward(slopes)
        return costs

    @staticmethod
    def backward(context: Any, *given: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (slopes,) = context.saved_tensors
        return slopes * given[0][:, None].to(slopes.dtype), None, None


def costs_of_pieces(
    speaker: Speaker,
    packed: Packed,
    advance: Callable[[int], None],
    *,
    bf16: bool,
    device: str = "cpu",
    n_at_once: int = 4,
) -> tuple[Array, Array]:
    """Return what each piece costs in nats, and how many tokens it has to say; ``float64 [k]`` and ``int64 [k]``.

    ``device`` is where the speaker is.
    """
    costs, counts = np.zeros(len(packed.documents)), np.zeros(len(packed.documents), np.int64)
    with torch.inference_mode():
        for begin in range(0, len(packed), n_at_once):
            some = slice(begin, begin + n_at_once)
            with precision_of(bf16=bf16, device=device):
                each = speaker.costs_of_tokens(torch.from_numpy(packed.tensors[some]).to(device))
            known = ~np.isnan(each)
            of = packed.pieces[some][known]
            costs += np.bincount(of, each[known], len(costs))
            counts += np.bincount(of, minlength=len(counts))
            advance(len(each))
    return costs, counts
