"""What it costs a language model to say texts: minus the logarithm of the probability that it gives their tokens.

It knows no library of networks: states and a head are given to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from topwork.contracts import Array
from topwork.training.folding import precision_of
from topwork.training.packing import NOTHING, Packed

__all__ = ["Speaker", "costs_of_pieces"]


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
        scores = self.head(self.states(tokens, positions)[said])
        return torch.nn.functional.cross_entropy(scores.float(), wanted[said], reduction="none"), said

    def costs_of_tokens(self, rows: torch.Tensor) -> Array:
        """Return what each token costs, ``float64 [n, t]``; NaN where none is to be said."""
        each, said = self._each(rows)
        found = np.full(said.shape, np.nan)
        found[said.cpu().numpy()] = each.double().cpu().numpy()
        return found


def costs_of_pieces(
    speaker: Speaker, packed: Packed, advance: Callable[[int], None], *, bf16: bool, n_at_once: int = 4
) -> tuple[Array, Array]:
    """Return what each piece costs in nats, and how many tokens it has to say; ``float64 [k]`` and ``int64 [k]``."""
    costs, counts = np.zeros(len(packed.documents)), np.zeros(len(packed.documents), np.int64)
    with torch.inference_mode():
        for begin in range(0, len(packed), n_at_once):
            some = slice(begin, begin + n_at_once)
            with precision_of(bf16=bf16, device="cpu"):
                each = speaker.costs_of_tokens(torch.from_numpy(packed.tensors[some]))
            known = ~np.isnan(each)
            of = packed.pieces[some][known]
            costs += np.bincount(of, each[known], len(costs))
            counts += np.bincount(of, minlength=len(counts))
            advance(len(each))
    return costs, counts
