"""What words say by themselves, as a part of a network: the same as counted outside of it, in every engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_transformers import write_masking_trunk
from topwork.contracts import WORD_WEIGHTS, Array, Exportable, TextTrunk, Trunk, padded
from topwork.engines.choice import EngineChoice, build
from topwork.engines.export import export
from topwork.inputs.word_buckets import N_BUCKETS, weigh
from topwork.progress import Quiet
from topwork.trunks.folder import open_folder
from topwork.trunks.word_scores import WordScores


def texts(n: int, width: int = 9) -> list[Array]:
    """Return windows of as many texts, of which the last is empty."""
    draw = np.random.default_rng(0)
    made = []
    for _ in range(n - 1):
        text = draw.integers(1, 12, (draw.integers(1, 4), width)).astype(np.int32)
        text[-1, draw.integers(1, width) :] = 0
        made.append(text)
    return [*made, np.zeros((1, width), np.int32)]


def weights(n: int) -> Array:
    return np.random.default_rng(1).normal(size=(N_BUCKETS, n)).astype(np.float32)


def test_a_network_finds_what_was_counted() -> None:
    scores, many, own = WordScores(3), texts(20), weights(3)
    with torch.no_grad():
        scores.weight.copy_(torch.from_numpy(own))
        batch = torch.from_numpy(padded(many))
        found = scores(batch.flatten(0, 1), *batch.shape[:2])
    assert np.allclose(found.numpy(), weigh(many) @ own, atol=1e-5)
    assert not found[-1].any()


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> Trunk:
    return open_folder(write_masking_trunk(tmp_path_factory.mktemp("trunk")))


@pytest.mark.parametrize(("engine", "precision"), [("onnxruntime", "fp32"), ("openvino", "bf16")])
def test_it_stands_behind_the_features_in_every_engine(trunk: Trunk, engine: str, precision: str) -> None:
    assert isinstance(trunk, TextTrunk)
    wide = trunk.with_word_scores(2)
    assert wide.card.n_features == trunk.card.n_features + 2
    assert wide.identity != trunk.identity
    many, own = texts(6, wide.preprocessing.window), weights(2)  # type: ignore[attr-defined]
    network = wide.load(wide.fetch(Path(), Quiet()))
    graph = export(Exportable(network, padded(many[:4]), ("features",), ragged=True))
    graph.weights[WORD_WEIGHTS][:] = own
    choice = EngineChoice(engine, precision)  # type: ignore[arg-type]
    found = build(choice, graph, n_threads=1, n_streams=1).run(padded(many))["features"]
    plain = trunk.load(trunk.fetch(Path(), Quiet()))
    with torch.no_grad():
        features = plain(torch.from_numpy(padded(many))).numpy()
    near = 1e-4 if precision == "fp32" else 0.05
    assert np.allclose(found[:, :-2], features, atol=near)
    assert np.allclose(found[:, -2:], weigh(many) @ own, atol=near)
