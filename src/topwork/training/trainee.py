"""What is trained and where its batches come from, as the loop and its looks at validation see them.

It knows no architecture and no file format: a network is a function and names of parameters, inputs are tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch

from topwork.contracts import Array

__all__ = ["Feed", "Trainee", "put"]


@dataclass(frozen=True, eq=False)
class Trainee:
    """What is trained.

    Attributes
    ----------
    features
        Maps a batch of the feed to ``[n, d]``.
    stages
        Trained parameters of each stage by their names in the network's state, lowest stage first.
    heads
        Layers per target, from features to scores; mostly a single linear one.
    moving
        Tensors that change without a gradient, such as the statistics of a normalisation that is not frozen.
    set_training
        Told whether steps or looks at validation are to follow; for a network whose normalisation is frozen there
        is no difference.
    """

    features: Callable[[torch.Tensor], torch.Tensor]
    stages: tuple[Mapping[str, torch.nn.Parameter], ...]
    heads: Mapping[str, torch.nn.Module]
    moving: Mapping[str, torch.Tensor] = field(default_factory=dict)
    set_training: Callable[[bool], object] = bool

    def state(self) -> dict[str, torch.Tensor]:
        """Return everything by name that the trained network differs by."""
        return {**self.named(), **self.moving}

    def named(self) -> dict[str, torch.nn.Parameter]:
        """Return every trained parameter by name, the heads' under ``heads.<target>``."""
        return {name: p for group in self.groups() for name, p in group.items()}

    def groups(self) -> tuple[dict[str, torch.nn.Parameter], ...]:
        """Return the parameters of each stage, and at the end those of the heads."""
        heads = {
            f"heads.{t}.{name}": p for t, head in self.heads.items() for name, p in head.named_parameters()
        }
        return (*(dict(stage) for stage in self.stages), heads)


def put(state: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
    """Copy values into the tensors of these names; those that are not named stay as they are."""
    with torch.no_grad():
        for name, value in values.items():
            state[name].copy_(value)


class Feed(Protocol):
    """Where batches come from. Rows count within the training rows, or within the validation rows."""

    @property
    def n_train(self) -> int:
        """Return the number of training rows."""
        ...

    @property
    def train_sizes(self) -> Array | None:
        """Return how large each training row is, where inputs come in several sizes; steps take rows of like size."""
        ...

    def batches(self, order: Iterator[tuple[int, Array]]) -> Iterator[tuple[Array, torch.Tensor]]:
        """Yield rows and their tensors for each (epoch, rows) of ``order``."""
        ...

    def validation(self, rows: Array | None = None) -> Iterator[tuple[Array, torch.Tensor]]:
        """Yield validation rows as the network will be given them when it serves: all or these, in any order."""
        ...
