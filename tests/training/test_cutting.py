"""A network in two parts answers as a whole one, and is whole again afterwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tiny_material import ChainNetwork
from topwork.contracts import Stage
from topwork.training.cutting import cut
from topwork.training.folding import fold


def pixels(n: int = 3) -> torch.Tensor:
    return torch.randint(0, 255, (n, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def patched(network: nn.Module) -> list[str]:
    return [name for name, module in network.named_modules() if "forward" in module.__dict__]


def flat(network: ChainNetwork) -> tuple[Stage, ...]:
    """Stages of single layers, whose own forward is replaced where they are folded."""
    return tuple(Stage(stage.name, tuple(stage.modules[0].children())) for stage in network.stages())


@pytest.mark.parametrize("stages_of", [ChainNetwork.stages, flat])
@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("n_below", [1, 2, 3])
def test_the_parts_give_what_the_whole_gives(
    n_below: int, folded: bool, stages_of: Callable[[ChainNetwork], tuple[Stage, ...]]
) -> None:
    network = ChainNetwork()
    if folded:
        assert fold(network, pixels(), bf16=False) == 4
    before = patched(network)
    whole = network(pixels())
    parts = cut(network, stages_of(network), n_below, pixels(2))
    assert parts is not None
    below, above = parts
    activation = below(pixels())
    assert activation.shape[1] == network.levels[n_below - 1][0].out_channels  # type: ignore[index]
    assert torch.equal(above(activation), whole)
    assert torch.equal(network(pixels()), whole)
    assert patched(network) == before


def test_gradients_of_the_upper_part_are_those_of_the_whole() -> None:
    network = ChainNetwork()
    parts = cut(network, network.stages(), 2, pixels(2))
    assert parts is not None
    parts[1](parts[0](pixels()).detach()).square().mean().backward()
    upper = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert {name.split(".")[1] for name in upper} == {"2", "3"}
    network.zero_grad()
    network(pixels()).square().mean().backward()
    for name, p in network.named_parameters():
        if name in upper:
            assert p.grad is not None
            assert torch.allclose(p.grad, upper[name], rtol=1e-5, atol=1e-7)


def test_parameters_are_shared() -> None:
    network = ChainNetwork()
    parts = cut(network, network.stages(), 2, pixels(2))
    assert parts is not None
    below, above = parts
    activation = below(pixels()).detach()
    before = above(activation).detach()
    with torch.no_grad():
        network.levels[3][1].bias.add_(1.0)  # type: ignore[index]
    assert not torch.allclose(above(activation), before)
    assert torch.equal(above(activation), network(pixels()))


@pytest.mark.parametrize("part", [0, 1], ids=["below", "above"])
def test_an_error_inside_leaves_the_network_whole(part: int) -> None:
    network = ChainNetwork()
    fold(network, pixels(), bf16=False)
    before, whole = patched(network), network(pixels())
    parts = cut(network, network.stages(), 2, pixels(2))
    assert parts is not None
    wrong = torch.zeros(1, 8, 8, 5) if part == 0 else torch.zeros(1, 99, 4, 4)
    with pytest.raises(RuntimeError):
        parts[part](wrong)
    assert patched(network) == before
    assert not any(m._forward_pre_hooks for m in network.modules())
    assert torch.equal(network(pixels()), whole)


@pytest.mark.parametrize("n_below", [-1, 0, 4, 5])
def test_a_cut_outside_the_network_is_none(n_below: int) -> None:
    network = ChainNetwork()
    assert cut(network, network.stages(), n_below, pixels(2)) is None


class Skipping(ChainNetwork):
    """The input goes past the stages as well, so an activation is not all that the upper part needs."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return super().forward(pixels) + pixels.float().mean((1, 2, 3))[:, None]


class Pairing(ChainNetwork):
    """Two tensors go from stage to stage."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        planes: torch.Tensor = pixels.permute(0, 3, 1, 2).float() / 128 - 1
        first = self.levels[0](planes)
        third = self.levels[2](self.levels[1](first))
        found: torch.Tensor = self.levels[3](third + first.mean()).mean((2, 3))
        return found


class Stubborn(ChainNetwork):
    """The forward pass looks at the shape of its input, which the stand-in for one has not."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if pixels.shape[1] < 8:
            raise ValueError("too small a picture")
        return super().forward(pixels)


@pytest.mark.parametrize("kind", [Skipping, Pairing, Stubborn])
def test_a_network_that_is_no_chain_is_not_cut(kind: type[ChainNetwork]) -> None:
    network = kind()
    whole = network(pixels())
    assert cut(network, network.stages(), 2, pixels(2)) is None
    assert patched(network) == []
    assert torch.equal(network(pixels()), whole)


def test_a_stage_that_is_never_reached_is_no_cut() -> None:
    network = ChainNetwork()
    stages = (*network.stages(), Stage("never", (nn.Identity(),)))
    assert cut(network, stages, 4, pixels(2)) is None
