"""Language models on torch with their keys and values in blocks: what they say is what transformers says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from tiny_writers import GPT2, LLAMA, QWEN2_NEAR, continued, tiny_writer
from topwork.contracts import Graph, Precision, Sampling
from topwork.engines.paged import Part
from topwork.engines.torch_writing import TorchWriter
from topwork.engines.writing import Opening, write
from topwork.errors import UsageError
from topwork.steps.writers import torch_writer

GREEDY = Sampling(temperature=0)
KINDS = {"llama": LLAMA, "gpt2": GPT2, "qwen2": QWEN2_NEAR}
LONG = tuple(1 + (7 * i) % 290 for i in range(75))
TEXTS = (LONG, (5, 6, 7), (*LONG[:70], 3))


def engine_of(config: dict[str, Any], precision: Precision = "fp32", device: str = "cpu") -> TorchWriter:
    """Start an engine of one of the tiny networks; of the graph only the weights count."""
    weights = {name: value.numpy() for name, value in tiny_writer(config).state_dict().items()}
    weights.pop("lm_head.weight") if config.get("tie_word_embeddings", True) else None
    return torch_writer(Graph(b"", weights, ("scores",)), json.dumps(config), precision, device)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_go_on_as_transformers_goes_on_with_each_alone(kind: str) -> None:
    found: dict[int, list[int]] = {}
    for one in write(engine_of(KINDS[kind]), [Opening(text, 14, GREEDY) for text in TEXTS]):
        found.setdefault(one.number, []).append(one.token)
    network = tiny_writer(KINDS[kind])
    assert found == {number: continued(network, text, 14) for number, text in enumerate(TEXTS)}


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_network_however_a_text_is_cut(kind: str) -> None:
    engine = engine_of(KINDS[kind])
    first = engine.run([Part(LONG[:40], 0, [4, 2]), Part((5, 6), 0, [9], 2)])
    assert first.shape == (3, 300)
    rest = engine.run([Part(LONG[40:], 40, [4, 2, 7], 3), Part((8,), 2, [9], 0)])
    with torch.inference_mode():
        network = tiny_writer(KINDS[kind])
        long = network(torch.tensor([LONG])).logits[0].numpy()
        short = network(torch.tensor([(5, 6)])).logits[0].numpy()
    expected = np.concatenate([long[39:40], short, long[-3:]])
    assert np.abs(np.concatenate([first, rest]) - expected).max() < 1e-4 * np.abs(expected).max()


def test_what_a_text_costs_is_told() -> None:
    found = engine_of(LLAMA).said(LONG)
    with torch.inference_mode():
        scores = tiny_writer(LLAMA)(torch.tensor([LONG])).logits[0, :-1].double().log_softmax(-1)
    assert found == pytest.approx(scores[torch.arange(74), torch.tensor(LONG[1:])].numpy(), abs=1e-4)


def test_bf16_is_near() -> None:
    exact, short = (engine_of(LLAMA, one).run([Part(LONG, 0, [1, 2, 3])]) for one in ("fp32", "bf16"))
    assert 0 < np.abs(exact - short).max() < 0.1 * np.abs(exact).max()


def test_what_it_cannot_be_made_of_is_told() -> None:
    with pytest.raises(UsageError, match="no weights in eight bits"):
        engine_of(LLAMA, "int8")
    with pytest.raises(UsageError, match="does not say by which settings"):
        torch_writer(Graph(b"", {}, ("scores",)), "", "fp32", "cpu")
    with pytest.raises(UsageError, match="has a weight"):
        torch_writer(Graph(b"", {}, ("scores",)), json.dumps(LLAMA), "fp32", "cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_gpu_texts_go_on_as_on_the_processor(kind: str) -> None:
    found: dict[int, list[int]] = {}
    for one in write(engine_of(KINDS[kind], device="cuda"), [Opening(text, 14, GREEDY) for text in TEXTS]):
        found.setdefault(one.number, []).append(one.token)
    network = tiny_writer(KINDS[kind])
    assert found == {number: continued(network, text, 14) for number, text in enumerate(TEXTS)}
