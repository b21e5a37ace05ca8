"""Networks of a few weights, for tests that need any network at all."""

from __future__ import annotations

import torch

N_FEATURES = 5


class SmallNetwork(torch.nn.Module):
    """``uint8 [n, height, width, 3]`` to features ``float32 [n, 5]``: one convolution, with its normalisation."""

    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, N_FEATURES, 3, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(N_FEATURES)
        self.norm.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
        self.register_buffer("scale", torch.tensor(1 / 255), persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        planes = pixels.permute(0, 3, 1, 2).float() * self.scale
        pooled: torch.Tensor = torch.relu(self.norm(self.conv(planes))).mean((2, 3))
        return pooled


class TwoOutputs(SmallNetwork):
    """The same features, and their square."""

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        features = super().forward(pixels)
        return features, features**2
