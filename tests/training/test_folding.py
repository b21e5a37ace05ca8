"""Folding changes neither answers nor gradients, and leaves alone what it would change."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tiny_material import ChainNetwork
from topwork.training.folding import fold, precision_of


class Pair(nn.Module):
    """One convolution, its normalisation, and something to take gradients by."""

    def __init__(self, convolution: nn.Module, n_out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.convolution, self.normalisation = convolution, nn.BatchNorm2d(n_out)
        for tensor in (self.normalisation.running_var, self.normalisation.weight):
            nn.init.uniform_(tensor, 0.5, 2)  # type: ignore[arg-type]
        for tensor in (self.normalisation.running_mean, self.normalisation.bias):
            nn.init.normal_(tensor)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        done: torch.Tensor = self.normalisation(self.convolution(self.first(x)))
        return done


def same(n_in: int, n_out: int, kernel: int, **options: int) -> nn.Module:
    """TensorFlow's ``same``, whose padding depends on the size."""
    from topwork.trunks.torchvision_guard import import_timm

    import_timm()
    from timm.layers import Conv2dSame

    return Conv2dSame(n_in, n_out, kernel, **options)  # type: ignore[no-any-return]


KINDS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.Conv2d(4, 8, 3, padding=1, bias=False),
    "biased": lambda: nn.Conv2d(4, 8, 3, padding=1),
    "lopsided-padding": lambda: nn.Conv2d(4, 8, (1, 3), padding=(0, 1)),
    "strided": lambda: nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False),
    "grouped": lambda: nn.Conv2d(4, 8, 3, padding=1, groups=2),
    "depthwise": lambda: nn.Conv2d(4, 8, 5, padding=2, groups=4, bias=False),
    "same-by-name": lambda: nn.Conv2d(4, 8, (3, 5), padding="same"),
    "valid-by-name": lambda: nn.Conv2d(4, 8, 3, padding="valid"),
    "tensorflow-same": lambda: same(4, 8, 3, stride=2),
    "tensorflow-same-depthwise": lambda: same(4, 4, 5, stride=2, groups=4, bias=False),
}


def answers(network: nn.Module, x: torch.Tensor, *, bf16: bool = False) -> dict[str, torch.Tensor]:
    """Return what a network gives, and the gradient of every parameter and of its input."""
    x = x.clone().requires_grad_()
    network.zero_grad()
    with precision_of(bf16=bf16):
        found = network(x)
    (found.float() ** 2).mean().backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert x.grad is not None
    assert len(gradients) == len(list(network.parameters()))
    return {name: t.detach().float().clone() for name, t in {"": found, "input": x.grad, **gradients}.items()}


def assert_near(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], share: float) -> None:
    assert one.keys() == other.keys()
    # A bias before a normalisation moves nothing but through rounding, so small gradients are no measure.
    scale = max(float(t.abs().max()) for name, t in one.items() if name)
    for name, tensor in one.items():
        largest = float(tensor.abs().max()) if not name else max(float(tensor.abs().max()), 0.01 * scale)
        assert float((tensor - other[name]).abs().max()) <= share * largest, name


@pytest.mark.parametrize("size", [(9, 9), (8, 8), (7, 10)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_answers_and_gradients_are_those_of_before(kind: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    convolution = KINDS[kind]()
    network = Pair(convolution, convolution.out_channels).eval()  # type: ignore[arg-type]
    x = torch.randn(5, 3, *size)
    before = answers(network, x)
    assert fold(network, x[:2], bf16=False) == 1
    assert_near(before, answers(network, x), 2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_in_bf16_they_are_near(kind: str) -> None:
    torch.manual_seed(0)
    convolution = KINDS[kind]()
    network = Pair(convolution, convolution.out_channels).eval()  # type: ignore[arg-type]
    x = torch.randn(5, 3, 8, 8)
    before = answers(network, x)
    fold(network, x[:2], bf16=True)
    after = answers(network, x, bf16=True)
    assert_near(before, after, 0.1)
    assert any(not torch.equal(before[name], tensor) for name, tensor in after.items())


@pytest.mark.parametrize("size", [(9, 9), (8, 8), (7, 10)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_gpu_computes_with_is_the_same_function(kind: str, size: tuple[int, int]) -> None:
    """Torch's own convolution on folded weights; it is told to be on a GPU and runs here."""
    torch.manual_seed(0)
    convolution = KINDS[kind]()
    network = Pair(convolution, convolution.out_channels).eval()  # type: ignore[arg-type]
    x = torch.randn(5, 3, *size)
    before = answers(network, x)
    assert fold(network, x[:2], bf16=True, device="cuda") == 1
    assert_near(before, answers(network, x), 2e-5)
    in_bf16 = answers(network, x, bf16=True)
    assert_near(before, in_bf16, 0.1)
    assert not torch.equal(before["input"], in_bf16["input"])


def test_a_size_that_was_not_the_example_s_is_padded_for_itself() -> None:
    """TensorFlow's ``same`` pads 1 and 2 pixels in all for these, so a padding that was kept would show."""
    network = Pair(same(4, 8, 3, stride=2), 8).eval()
    x = torch.randn(2, 3, 8, 9)
    before = answers(network, x)
    fold(network, torch.randn(2, 3, 9, 8), bf16=False)
    assert_near(before, answers(network, x), 2e-5)


def test_a_trained_parameter_is_used_at_once() -> None:
    network = ChainNetwork()
    x = torch.randint(0, 255, (2, 8, 8, 3), dtype=torch.uint8)
    assert fold(network, x, bf16=False) == 4
    other = ChainNetwork()
    with torch.no_grad():
        for one in (network, other):
            for p in one.parameters():
                p.mul_(1.5)
    assert torch.allclose(network(x), other(x), rtol=1e-4, atol=1e-5)


def test_names_and_state_stay() -> None:
    network = ChainNetwork()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fold(network, torch.zeros(2, 8, 8, 3, dtype=torch.uint8), bf16=False)
    after = network.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_a_normalisation_of_timm_does_beside_is_still_done() -> None:
    from topwork.trunks.torchvision_guard import import_timm

    import_timm()
    from timm.layers import BatchNormAct2d

    network = nn.Sequential(nn.Conv2d(3, 4, 3), BatchNormAct2d(4)).eval()
    x = torch.randn(2, 3, 8, 8)
    before = network(x).detach()
    assert (before == 0).any()
    assert fold(network, x, bf16=False) == 1
    assert torch.allclose(network(x), before, rtol=1e-4, atol=1e-5)


# --- where folding would be wrong -----------------------------------------------------------------------


class UsedTwice(nn.Module):
    """What the convolution gives is needed as it is, beside its normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.normalisation = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        nn.init.constant_(self.normalisation.weight, 3.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raw = self.convolution(x)
        done: torch.Tensor = self.normalisation(raw) + raw
        return done


class Shared(UsedTwice):
    """One normalisation after two convolutions is right for each; one convolution before two is not."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.BatchNorm2d(3)
        nn.init.constant_(self.second.bias, 2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        done: torch.Tensor = self.normalisation(self.convolution(x)) * self.second(self.convolution(x))
        return done


def dilated() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 3, 3, dilation=2), nn.BatchNorm2d(3))


def reflecting() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(3))


def apart() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU(), nn.BatchNorm2d(3))


def without_statistics() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3, track_running_stats=False))


def without_scale() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3, affine=False))


def in_training() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3, momentum=0.0)).train()


WRONG = (UsedTwice, Shared, dilated, reflecting, apart, without_statistics, without_scale, in_training)


@pytest.mark.parametrize("make", WRONG, ids=lambda make: make.__name__)
def test_a_network_that_folding_would_change_is_left_alone(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    network = make()
    if make is not in_training:
        network.eval()
    x = torch.randn(4, 3, 8, 8)
    before = network(x).detach()
    assert fold(network, x, bf16=False) == 0
    assert all("forward" not in module.__dict__ for module in network.modules())
    assert torch.equal(network(x), before)


def test_one_wrong_pair_leaves_all_of_them_alone() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), UsedTwice()).eval()
    assert fold(network, torch.randn(2, 3, 4, 4), bf16=False) == 0
    assert all("forward" not in module.__dict__ for module in network.modules())


def test_a_network_with_nothing_to_fold_is_not_even_run() -> None:
    class NeverAsked(nn.Linear):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise AssertionError("It was run.")

    assert fold(NeverAsked(3, 2), torch.zeros(1, 3), bf16=False) == 0
