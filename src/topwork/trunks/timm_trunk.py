"""A trunk of the timm library: what every trunk has, and an input size and an architecture.

It knows how they meet, and nothing more of any of them. No weight is read and no library imported before
`TimmTrunk.load`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from topwork.contracts import Rates, Stage
from topwork.errors import UsageError
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

    def of_side(self, side_px: int) -> TimmTrunk:
        """Return the same network for pictures squashed to so many pixels a side; see `ResizableTrunk`.

        Raises
        ------
        UsageError
            The network takes one size only, as those with an embedding for each place of a picture do.
        """
        if (self.preprocessing.height, self.preprocessing.width) == (side_px, side_px):
            return self
        import torch

        pixels = torch.zeros(1, 3, side_px, side_px)
        try:
            with torch.inference_mode():
                architectures.build(self.architecture).eval()(pixels)
        except (AssertionError, RuntimeError) as error:
            raise UsageError(
                f"The trunk {self.card.name!r} takes pictures of {self.preprocessing.height} × "
                f"{self.preprocessing.width} pixels only, not of {side_px} × {side_px}."
            ) from error
        preprocessing = replace(self.preprocessing, height=side_px, width=side_px, fit="squash")
        card = replace(self.card, input_size=(side_px, side_px))
        return replace(self, card=card, topology="", preprocessing=preprocessing)

    def cut(self, network: torch.nn.Module) -> tuple[Stage, ...]:
        """Return the stages of timm's network."""
        return architectures.stages(network)
