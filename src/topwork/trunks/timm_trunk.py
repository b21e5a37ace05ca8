"""A trunk is four things put together: a card, an input size, an architecture, and a source of weights.

It knows how they meet, and nothing more of any of them. No weight is read and no library imported before
`TimmTrunk.load`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from topwork.contracts import Graph, Progress, Rates, Stage, TrunkCard
from topwork.errors import UsageError
from topwork.inputs.image_preprocessing import ImagePreprocessing
from topwork.trunks import architectures, topologies
from topwork.trunks.architectures import Architecture
from topwork.trunks.origin import WeightSource

if TYPE_CHECKING:
    import torch

__all__ = ["TimmTrunk"]


@dataclass(frozen=True, slots=True)
class TimmTrunk:
    """A pretrained image network of the timm library; see `topwork.contracts.Trunk`.

    ``topology`` names an exported topology that came with topwork; empty where there is none.
    """

    card: TrunkCard
    preprocessing: ImagePreprocessing
    architecture: Architecture
    source: WeightSource
    topology: str = ""

    @property
    def identity(self) -> str:
        """Return the hash of the weights, and the architecture with its normalisation spelled out."""
        return f"{self.card.weights_sha256}:{json.dumps(asdict(self.architecture), sort_keys=True)}"

    @property
    def rates(self) -> Rates:
        """Return the peak rates at which AdamW tunes it without losing what it knows."""
        return Rates(lowest=1e-4, highest=1e-3, head=3e-3)

    def fetch(self, cache_dir: Path, progress: Progress) -> Path:
        """Bring the weights here; see `WeightSource.fetch`."""
        return self.source.fetch(cache_dir, progress)

    def graph(self, weights: Path) -> Graph | None:
        """Return the network as it was exported when topwork was made; neither torch nor timm is imported.

        Raises
        ------
        WeightsError
            The file is damaged, or its tensors are not those of this network.
        """
        return topologies.graph(self.topology, weights) if self.topology else None

    def load(self, weights: Path) -> torch.nn.Module:
        """Build the network: ``uint8 [n, height, width, 3]`` to features ``float32 [n, n_features]``.

        Raises
        ------
        WeightsError
            The file is damaged, or its tensors are not those of this architecture.
        """
        from topwork.trunks.network import PixelNetwork

        network = architectures.fill(architectures.build(self.architecture), self.architecture, weights)
        return PixelNetwork(network, self.architecture.mean, self.architecture.std).eval()

    def stages(self, module: torch.nn.Module) -> tuple[Stage, ...]:
        """Return the consecutive stages of what `load` built, from input to output.

        Raises
        ------
        UsageError
            ``module`` was not built by `load`.
        """
        from topwork.trunks.network import PixelNetwork

        if not isinstance(module, PixelNetwork):
            raise UsageError(
                f"Only a network that a trunk has loaded has stages; this is a {type(module).__name__}.",
                next_step="Give what Trunk.load returned, not a module around it.",
            )
        return architectures.stages(module.trunk)
