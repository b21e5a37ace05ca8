"""What it costs to say tokens, without the scores of all tokens being kept: the same costs and the same gradient."""

from __future__ import annotations

import pytest
import torch

from topwork.training.saying import costs_of_states


def both(head: torch.nn.Module, n: int = 600, d: int = 16, v: int = 50) -> tuple[torch.Tensor, ...]:
    """Return costs and gradients of the states, as they are here and as torch has them; costs weigh differently."""
    draw = torch.Generator().manual_seed(0)
    states = torch.randn(n, d, generator=draw, requires_grad=True)
    wanted = torch.randint(0, v, (n,), generator=draw)
    weights = torch.rand(n, generator=draw)
    own = costs_of_states(head, states, wanted)
    (own_slope,) = torch.autograd.grad((own * weights).sum(), states)
    other = torch.nn.functional.cross_entropy(head(states).float(), wanted, reduction="none")
    (other_slope,) = torch.autograd.grad((other * weights).sum(), states)
    return own, other, own_slope, other_slope


def frozen(bias: bool = False) -> torch.nn.Linear:
    torch.manual_seed(1)
    return torch.nn.Linear(16, 50, bias=bias).requires_grad_(False)


@pytest.mark.parametrize("head", [frozen(), frozen(bias=True), torch.nn.Linear(16, 50)])
def test_costs_and_gradient_are_those_of_all_scores_at_once(head: torch.nn.Linear) -> None:
    own, other, own_slope, other_slope = both(head)
    torch.testing.assert_close(own, other)
    torch.testing.assert_close(own_slope, other_slope)


def test_a_head_that_is_trained_gets_its_gradient() -> None:
    head = torch.nn.Linear(16, 50, bias=False)
    total = costs_of_states(head, torch.randn(5, 16), torch.arange(5)).sum()
    (slope,) = torch.autograd.grad(total, head.weight)
    assert slope.abs().sum() > 0


def test_in_bf16_costs_are_near_and_are_numbers_of_32_bits() -> None:
    head = frozen()
    exact, *_ = both(head)
    with torch.autocast("cpu", torch.bfloat16):
        own, *_ = both(head)
    assert own.dtype == torch.float32
    assert (own - exact).abs().max() < 0.05


def test_without_a_gradient_nothing_is_kept() -> None:
    with torch.no_grad():
        found = costs_of_states(frozen(), torch.randn(5, 16), torch.arange(5))
    assert not found.requires_grad
    assert costs_of_states(frozen(), torch.empty(0, 16), torch.empty(0, dtype=torch.int64)).shape == (0,)
