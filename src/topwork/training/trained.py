"""Which parameters of a network are trained: those of its stages from a cut up, but for tables of words.

It knows no architecture; a table is told by its size.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from topwork.contracts import Stage

__all__ = ["trained_stages"]

_LARGE = 8192
"""Rows of a table of which a step needs but a few; its gradient, moments and average are as large as all of it."""


def trained_stages(
    network: nn.Module, stages: Sequence[Stage], n_below: int = 0
) -> tuple[dict[str, nn.Parameter], ...]:
    """Return the trained parameters of each stage by name, from the stage ``n_below`` up; all others are frozen."""
    names = {id(p): name for name, p in network.named_parameters()}
    tables = {id(one.weight) for one in network.modules() if _is_large(one)}
    network.requires_grad_(requires_grad=False)
    every = ([p for module in stage.modules for p in module.parameters()] for stage in stages[n_below:])
    found = tuple({names[id(p)]: p for p in some if id(p) not in tables} for some in every)
    for p in (p for stage in found for p in stage.values()):
        p.requires_grad_()
    return found


def _is_large(module: nn.Module) -> bool:
    return isinstance(module, nn.Embedding) and module.num_embeddings >= _LARGE
