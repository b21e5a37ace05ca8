"""Text encoders: built from their configuration alone, filled, cut into stages, and blind to padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from topwork.errors import UsageError, WeightsError
from topwork.trunks.encoders import Encoder, build, fill, measure, stages
from topwork.trunks.token_network import TokenNetwork

SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "max_position_embeddings": 64,
    "vocab_size": 50,
}
BERT = Encoder({"model_type": "bert", **SMALL})
KINDS = {
    "bert": BERT,
    "roberta": Encoder({"model_type": "roberta", **SMALL, "pad_token_id": 1}, "first"),
    "mpnet": Encoder({"model_type": "mpnet", **SMALL}),
    "distilbert": Encoder(
        {
            "model_type": "distilbert",
            "dim": 16,
            "hidden_dim": 24,
            "n_heads": 2,
            "n_layers": 3,
            "vocab_size": 50,
        }
    ),
    "electra": Encoder({"model_type": "electra", **SMALL, "embedding_size": 8}),
}


def tokens(*windows: list[int], width: int = 8) -> torch.Tensor:
    """Return one text ``int32 [1, k, w]`` of windows of token numbers."""
    rows = [window + [0] * (width - len(window)) for window in windows]
    return torch.tensor([rows], dtype=torch.int32)


def saved(network: torch.nn.Module, path: Path, prefix: str = "") -> Path:
    state = {prefix + name: value.clone() for name, value in network.state_dict().items()}
    save_file(state | {"some.head.weight": torch.zeros(2)}, path)
    return path


def trained(encoder: Encoder, path: Path, seed: int = 0) -> TokenNetwork:
    """Return a network of random weights, each of them other than the last."""
    torch.manual_seed(seed)
    network = build(encoder)
    with torch.no_grad():
        for p in network.parameters():
            p.normal_(0, 0.5) if p.ndim > 1 else p.add_(torch.randn_like(p), alpha=0.1)
    filled = fill(build(encoder), encoder, saved(network, path))
    return TokenNetwork(filled, encoder.pooling).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_company_change_nothing(kind: str, tmp_path: Path) -> None:
    network = trained(KINDS[kind], tmp_path / "w.safetensors")
    one, other = tokens([3, 9, 4]), tokens([7, 8, 9, 10, 11, 12], [5, 5])
    with torch.inference_mode():
        alone = network(one[:, :, :3])
        wider = network(tokens([3, 9, 4], [], [], width=12))
        both = network(torch.cat([torch.cat([one, torch.zeros_like(one)], dim=1), other]))
        second = network(other)
    torch.testing.assert_close(wider, alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(both[:1], alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(both[1:], second, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(alone, second, atol=1e-2)


def test_a_text_of_two_windows_is_the_mean_over_all_of_its_tokens(tmp_path: Path) -> None:
    network = trained(BERT, tmp_path / "w.safetensors")
    long, short = [7, 8, 9, 10, 11, 12], [5, 6]
    with torch.inference_mode():
        parts = network(tokens(long)), network(tokens(short))
        whole = network(tokens(long, short))
    torch.testing.assert_close(whole, (6 * parts[0] + 2 * parts[1]) / 8, rtol=1e-5, atol=1e-5)


def test_the_first_token_stands_for_its_window_where_the_encoder_was_trained_so(tmp_path: Path) -> None:
    encoder = Encoder(BERT.config, "first")
    network = trained(encoder, tmp_path / "w.safetensors")
    with torch.inference_mode():
        found = network(tokens([7, 8, 9]))
        hidden = network.trunk(input_ids=torch.tensor([[6, 7, 8]])).last_hidden_state
    torch.testing.assert_close(found, hidden[:, 0], rtol=1e-5, atol=1e-5)


def test_windows_of_like_length_are_computed_together_and_nothing_gets_mixed_up(tmp_path: Path) -> None:
    network = trained(BERT, tmp_path / "w.safetensors")
    draw = torch.Generator().manual_seed(1)
    texts = [
        torch.randint(1, 50, (1, 1, n), generator=draw, dtype=torch.int32)
        for n in (9, 2, 5, 1, 7, 3, 8, 4, 6, 2)
    ]
    batch = torch.cat([torch.nn.functional.pad(text, (0, 9 - text.shape[2])) for text in texts])
    with torch.inference_mode():
        together = network(batch)
        alone = torch.cat([network(text) for text in texts])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_stages_hold_every_parameter_once_from_the_embeddings_up(kind: str) -> None:
    network = build(KINDS[kind])
    found = stages(network)
    assert [stage.name for stage in found] == ["embeddings", "layer 1", "layer 2", "layer 3"]
    held = [id(p) for stage in found for module in stage.modules for p in module.parameters()]
    assert sorted(held) == sorted(id(p) for p in network.parameters())


def test_measuring_allocates_nothing_and_agrees_with_the_network() -> None:
    measured = measure(BERT)
    assert measured.n_features == 16
    assert measured.staged
    assert measured.n_parameters == sum(p.numel() for p in build(BERT).parameters())


def test_building_leaves_the_random_state_alone_and_the_pooler_out() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    network = build(BERT)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not [name for name in network.state_dict() if "pooler" in name]


def test_weights_may_carry_the_name_of_their_kind_and_a_head(tmp_path: Path) -> None:
    network = build(BERT)
    filled = fill(build(BERT), BERT, saved(network, tmp_path / "w.safetensors", prefix="bert."))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), filled.parameters(), strict=True))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    other = build(Encoder({**BERT.config, "hidden_size": 32}))
    with pytest.raises(WeightsError, match="another shape, such as embeddings"):
        fill(build(BERT), BERT, saved(other, tmp_path / "w.safetensors"))
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    with pytest.raises(WeightsError, match="Cannot read the weights"):
        fill(build(BERT), BERT, tmp_path / "broken.safetensors")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "no-such-kind"}, "cannot build a network of kind 'no-such-kind'"),
        ({**BERT.config, "hidden_size": 15}, "cannot build a network of kind 'bert'"),
        ({"model_type": "t5", "d_model": 16, "num_layers": 2, "d_ff": 16, "vocab_size": 50}, "writes texts"),
    ],
)
def test_what_is_no_encoder_is_refused_with_the_reason(config: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        build(Encoder(config))


def test_code_that_a_configuration_names_is_never_asked_for() -> None:
    named = {**BERT.config, "auto_map": {"AutoModel": "evil.Model"}, "_name_or_path": "/nowhere"}
    assert type(build(Encoder(named))) is type(build(BERT))


def test_a_network_that_looks_at_padding_is_refused(tmp_path: Path) -> None:
    class Blind(torch.nn.Module):
        """Takes no notice of the mask."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = build(BERT)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            return self.inner(input_ids=input_ids, attention_mask=torch.ones_like(attention_mask))

    network = Blind()
    with pytest.raises(UsageError, match="looks at padding"):
        fill(network, BERT, saved(network, tmp_path / "w.safetensors"))


def test_first_maximum_and_mean_stand_side_by_side_over_all_windows(tmp_path: Path) -> None:
    network = trained(BERT, tmp_path / "w.safetensors")
    network.pooling = "concat"
    long, short = [7, 8, 9, 10, 11, 12], [5, 6]
    with torch.inference_mode():
        states = [network.states(torch.tensor([one], dtype=torch.int32))[0] for one in (long, short)]
        found = network(torch.cat([tokens(long, short), tokens(short, [])]))
    first = (states[0][0] + states[1][0]) / 2
    every = torch.cat(states)
    expected = torch.cat([first, every.amax(0), every.mean(0)])
    alone = torch.cat([states[1][0], states[1].amax(0), states[1].mean(0)])
    torch.testing.assert_close(found, torch.stack([expected, alone]), rtol=1e-5, atol=1e-5)
