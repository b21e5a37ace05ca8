"""What the trunks of every library have in common: a card, a source of weights, perhaps an exported topology.

A kind of trunk adds what its inputs look like, how its network is loaded, and how that is cut. It knows no library of
networks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from topwork.contracts import Graph, Progress, Stage, TrunkCard
from topwork.errors import UsageError
from topwork.trunks import topologies
from topwork.trunks.origin import WeightSource

if TYPE_CHECKING:
    import torch

__all__ = ["NetworkTrunk"]


@dataclass(frozen=True, slots=True)
class NetworkTrunk(ABC):
    """The part of a `topwork.contracts.Trunk` that does not depend on the library of its network.

    ``topology`` names an exported topology that came with topwork; empty where there is none.
    """

    card: TrunkCard
    source: WeightSource
    topology: str

    def fetch(self, cache_dir: Path, progress: Progress) -> Path:
        """Bring the weights here; see `WeightSource.fetch`."""
        return self.source.fetch(cache_dir, progress)

    def graph(self, weights: Path) -> Graph | None:
        """Return the network as it was exported when topwork was made; no library of networks is imported.

        Raises
        ------
        WeightsError
            The file is damaged, or its tensors are not those of this network.
        """
        return topologies.graph(self.topology, weights) if self.topology else None

    def stages(self, module: torch.nn.Module) -> tuple[Stage, ...]:
        """Return the consecutive stages of what `load` built, from input to output.

        Raises
        ------
        UsageError
            ``module`` was not built by `load`.
        """
        from topwork.trunks.network import LoadedNetwork

        if not isinstance(module, LoadedNetwork):
            raise UsageError(
                f"Only a network that a trunk has loaded has stages; this is a {type(module).__name__}.",
                next_step="Give what Trunk.load returned, not a module around it.",
            )
        return self.cut(module.trunk)

    @abstractmethod
    def cut(self, network: torch.nn.Module) -> tuple[Stage, ...]:
        """Return the stages of the library's own network."""
