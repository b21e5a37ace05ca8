from __future__ import annotations

import numpy as np
import torch

from topwork.trunks.network import PixelNetwork

MEAN, STD = (0.1, 0.5, 0.9), (0.2, 0.25, 0.5)


def pixels(seed: int = 0) -> torch.Tensor:
    drawn = np.random.default_rng(seed).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    return torch.from_numpy(drawn)


def test_pixels_are_normalised_per_channel_and_turned_to_planes() -> None:
    batch = pixels()
    found = PixelNetwork(torch.nn.Identity(), MEAN, STD)(batch).numpy()
    expected = (batch.numpy() / 255.0 - np.array(MEAN)) / np.array(STD)
    np.testing.assert_allclose(found, expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6)


def test_normalisation_is_no_weight() -> None:
    network = PixelNetwork(torch.nn.Conv2d(3, 2, 1), MEAN, STD)
    assert set(network.state_dict()) == {"trunk.weight", "trunk.bias"}
    assert {name for name, _ in network.named_parameters()} == {"trunk.weight", "trunk.bias"}


def test_it_follows_its_weights_to_another_number_format() -> None:
    network = PixelNetwork(torch.nn.Conv2d(3, 2, 1), MEAN, STD).to(torch.bfloat16)
    assert network(pixels()).dtype == torch.bfloat16
