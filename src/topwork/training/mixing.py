"""The parts of a step: its examples as they are, or mixed in pairs.

Mixup: Zhang et al., *mixup: Beyond Empirical Risk Minimization*, arXiv 1710.09412. Pixels can be mixed, tokens cannot.
It knows no loss and no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from topwork.contracts import Array
from topwork.training.plan import RungPlan

__all__ = ["Part", "can_mix", "parts_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Examples of a step that are computed at once.

    Attributes
    ----------
    rows, whole
        Training rows of this part and of the whole step.
    partners
        What each row is mixed with, ``share`` being the row's own share; None where nothing is mixed.
    """

    tensors: torch.Tensor
    rows: Array
    whole: Array
    partners: Array | None = None
    share: float = 1.0


def can_mix(tensors: torch.Tensor) -> bool:
    """Tell whether a mixture of two inputs is an input: of bytes of pixels and of fractions, not of tokens."""
    return tensors.dtype == torch.uint8 or tensors.dtype.is_floating_point


def parts_of(
    tensors: torch.Tensor, rows: Array, rung: RungPlan, draw_from: tuple[int, ...]
) -> Iterator[Part]:
    """Yield a batch in as many parts as the rung says; one share, drawn from ``draw_from``, for a whole step."""
    share, order = 1.0, np.arange(len(rows))
    if mixed := rung.mixup > 0 and can_mix(tensors):
        draw = np.random.default_rng(draw_from)
        share, order = float(draw.beta(rung.mixup, rung.mixup)), draw.permutation(len(rows))
        values = tensors.float()
        tensors = share * values + (1 - share) * values[torch.from_numpy(order)]
    for part in np.array_split(np.arange(len(rows)), min(rung.n_parts, len(rows))):
        partners = rows[order[part]] if mixed else None
        yield Part(tensors[torch.from_numpy(part)], rows[part], rows, partners, share)
