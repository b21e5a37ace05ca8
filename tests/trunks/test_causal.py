"""Language models of transformers: built, filled, marked, or refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tiny_writers import GPT2, LLAMA, tiny_writer
from topwork.contracts import Attention
from topwork.errors import UsageError, WeightsError
from topwork.trunks.causal import build, fill, marked


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    build(LLAMA)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("config", [LLAMA, GPT2])
def test_weights_are_filled_in_whether_the_head_is_in_the_file_or_tied(
    config: dict[str, Any], tmp_path: Path
) -> None:
    network = tiny_writer(config)
    state = {name: value.clone() for name, value in network.state_dict().items() if name != "lm_head.weight"}
    save_file(state, tmp_path / "tied.safetensors")
    filled = fill(build(config), tmp_path / "tied.safetensors")
    tokens = torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        assert torch.allclose(filled(tokens).logits, network(tokens).logits, atol=1e-5)


def test_a_tensor_that_is_missing_is_told(tmp_path: Path) -> None:
    state = {
        name: value.clone() for name, value in tiny_writer(LLAMA).state_dict().items() if "norm" not in name
    }
    save_file({n: v for n, v in state.items() if n != "lm_head.weight"}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"5 tensors are missing or have another shape, such as model\."):
        fill(build(LLAMA), tmp_path / "w.safetensors")


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="Cannot read the weights"):
        fill(build(LLAMA), tmp_path / "w.safetensors")


@pytest.mark.parametrize("kind", ["bert-of-nobody", "vit"])
def test_a_network_that_writes_nothing_is_refused(kind: str) -> None:
    with pytest.raises(UsageError, match=f"cannot build a language model of kind '{kind}'"):
        build({"model_type": kind})


def test_attention_is_described_as_the_library_has_it() -> None:
    made = marked(tiny_writer({**LLAMA, "head_dim": 8}), "here")
    assert made.attentions == {
        f"model.layers.{number}.self_attn.here": Attention(4, 2, 8, 8, 8**-0.5) for number in range(2)
    }


def test_attention_that_is_of_an_unknown_kind_is_refused() -> None:
    config = {**LLAMA, "model_type": "gemma2", "head_dim": 16, "attn_logit_softcapping": 50.0}
    with pytest.raises(UsageError, match="'softcap'"):
        marked(tiny_writer(config), "here")
