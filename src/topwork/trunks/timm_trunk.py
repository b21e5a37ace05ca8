"""A trunk of the timm library: what every trunk has, and an input size and an architecture.

It knows how they meet, and nothing more of any of them. No weight is read and no library imported before
`TimmTrunk.load`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from topwork.contracts import Rates, Stage
from topwork.inputs.image_preprocessing import ImagePreprocessing
from topwork.trunks import architectures
from topwork.trunks.architectures import Architecture
from topwork.trunks.network_trunk import NetworkTrunk

if TYPE_CHECKING:
    import torch

__all__ = ["TimmTrunk"]


@dataclass(frozen=True, slots=True)
class TimmTrunk(NetworkTrunk):
    """A pretrained image network of the timm library; see `topwork.contracts.Trunk`."""

    preprocessing: ImagePreprocessing
    architecture: Architecture

    @property
    def identity(self) -> str:
        """Return the hash of the weights, and the architecture with its normalisation spelled out."""
        return f"{self.card.weights_sha256}:{json.dumps(asdict(self.architecture), sort_keys=True)}"

    @property
    def rates(self) -> Rates:
        """Return the peak rates at which AdamW tunes it without losing what it knows."""
        return Rates(lowest=1e-4, highest=1e-3, head=3e-3)

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

    def cut(self, network: torch.nn.Module) -> tuple[Stage, ...]:
        """Return the stages of timm's network."""
        return architectures.stages(network)
