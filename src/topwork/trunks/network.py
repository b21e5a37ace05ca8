"""The network that every image trunk becomes: raw pixels in, pooled features out.

Normalisation is part of the network, so that nobody who runs an exported copy can forget it. The module
knows no architecture and no source of weights. It imports torch: import it inside the function that
builds a network, never at the top of a module that must stay light.
"""

from __future__ import annotations

import torch

__all__ = ["LoadedNetwork", "PixelNetwork"]


class LoadedNetwork(torch.nn.Module):
    """What a trunk's ``load`` builds: a library's network, ``trunk``, behind what makes raw inputs fit for it."""

    trunk: torch.nn.Module


class PixelNetwork(LoadedNetwork):
    """A trunk that takes pixels as they are decoded.

    Parameters
    ----------
    trunk
        Maps normalised ``float32 [n, 3, height, width]`` to features ``[n, d]``.
    mean, std
        Normalisation per channel, on the scale where white is 1.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, trunk: torch.nn.Module, mean: tuple[float, float, float], std: tuple[float, float, float]
    ) -> None:
        super().__init__()
        self.trunk = trunk
        # Not persistent: they are constants of the architecture, not weights that anybody trains or loads.
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map ``uint8 [n, height, width, 3]`` to pooled features ``float [n, d]``."""
        planes = pixels.permute(0, 3, 1, 2).to(self.mean.dtype)
        features: torch.Tensor = self.trunk((planes - self.mean) / self.std)
        return features
