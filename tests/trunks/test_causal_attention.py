"""Attention for training: that of torch, in bf16, and no text in a row sees another one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tiny_writers import GPT2, LLAMA, QWEN2_NEAR, tiny_writer
from topwork.trunks import causal_attention
from topwork.trunks.causal import states_of
from topwork.trunks.causal_attention import TRAINED


def states(
    config: dict[str, Any], attention: str, tokens: torch.Tensor, positions: torch.Tensor
) -> torch.Tensor:
    network = states_of(tiny_writer(config, attention=attention))
    with torch.autocast("cpu", torch.bfloat16):
        found: torch.Tensor = network(tokens, positions)
    return found.float()


@pytest.mark.parametrize("config", [LLAMA, GPT2, QWEN2_NEAR])
def test_it_computes_what_torch_computes(config: dict[str, Any]) -> None:
    tokens = torch.randint(0, 300, (2, 40), generator=torch.Generator().manual_seed(0))
    positions = torch.cat([torch.arange(15), torch.arange(25)])[None].expand(2, -1)
    exact = states_of(tiny_writer(config, attention="sdpa"))(tokens, positions)
    own, other = (states(config, name, tokens, positions) for name in (TRAINED, "sdpa"))
    off = (own - exact).norm() / exact.norm()
    assert off < 1.5 * (other - exact).norm() / exact.norm() + 1e-3
    assert not torch.equal(own, other)  # or it would not be the one that was computed


def test_in_fp32_it_is_torch_s() -> None:
    tokens, positions = torch.arange(30)[None], torch.arange(30)[None]
    own, other = (
        states_of(tiny_writer(LLAMA, attention=name))(tokens, positions) for name in (TRAINED, "sdpa")
    )
    torch.testing.assert_close(own, other)


def test_a_text_beside_another_gets_the_states_that_it_has_alone() -> None:
    first, second = torch.arange(1, 13), torch.arange(40, 60)
    together = states(
        LLAMA,
        TRAINED,
        torch.cat([first, second])[None],
        torch.cat([torch.arange(12), torch.arange(20)])[None],
    )
    alone = states(LLAMA, TRAINED, second[None], torch.arange(20)[None])
    torch.testing.assert_close(together[:, 12:], alone, rtol=0.05, atol=0.05)


def test_what_it_does_not_know_is_left_to_torch() -> None:
    query = torch.randn(1, 2, 5, 4)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = causal_attention._attend(
            torch.nn.Module(), query, query, query, torch.zeros(1, 1, 5, 5), dropout=0.0, something=3
        )
        expected = torch.nn.functional.scaled_dot_product_attention(query, query, query)
    torch.testing.assert_close(found.transpose(1, 2).float(), expected.float())
