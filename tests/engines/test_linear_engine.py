"""Linear layers on the input itself: computed by NumPy, and everything else left to other engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from topwork.contracts import Graph, LinearHead
from topwork.engines.choice import EngineChoice, build
from topwork.engines.grafting import graft
from topwork.engines.graphs import parse
from topwork.engines.linear import LinearEngine
from topwork.errors import UsageError
from topwork.progress import Quiet
from topwork.trunks import IdentityTrunk

RNG = np.random.default_rng(0)


def layer(k: int, d: int) -> LinearHead:
    return LinearHead(RNG.normal(size=(k, d)).astype(np.float32), RNG.normal(size=k).astype(np.float32))


HEADS = {
    "label": layer(3, 4),
    "deep": LinearHead(layer(2, 5).weight, layer(2, 5).bias, hidden=(layer(6, 4), layer(5, 6))),
}


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    trunk = IdentityTrunk(4)
    return graft(trunk.graph(trunk.fetch(tmp_path, Quiet())), HEADS)


def test_it_gives_what_the_heads_give(graph: Graph) -> None:
    engine = build(EngineChoice("onnxruntime", "fp32"), graph, n_threads=2, n_streams=2)
    assert (engine.name, engine.precision, engine.version) == ("numpy", "fp32", np.__version__)
    batch = RNG.normal(size=(20, 4)).astype(np.float32)
    found = engine.run(batch)
    assert set(found) == {"features", "scores.label", "scores.deep"}
    np.testing.assert_array_equal(found["features"], batch)
    for name, head in HEADS.items():
        assert found[f"scores.{name}"].dtype == np.float32
        np.testing.assert_allclose(found[f"scores.{name}"], head.scores(batch), rtol=1e-4, atol=1e-5)


def test_a_row_scores_the_same_in_any_batch(graph: Graph) -> None:
    engine = LinearEngine.of(graph)
    assert engine is not None
    batch = RNG.normal(size=(33, 4)).astype(np.float32)
    together = engine.run(batch)["scores.label"]
    alone = np.concatenate([engine.run(one[None])["scores.label"] for one in batch])
    np.testing.assert_array_equal(together, alone)


def test_a_batch_of_another_length_is_refused(graph: Graph) -> None:
    engine = LinearEngine.of(graph)
    assert engine is not None
    with pytest.raises(UsageError, match=r"cannot take a batch \[2, 5\]"):
        engine.run(np.zeros((2, 5), np.float32))


def _scaled(proto: Any) -> None:
    proto.graph.node[1].attribute.add(name="alpha", f=2.0, type=1)


def _of_another_kind(proto: Any) -> None:
    proto.graph.node[1].op_type = "MatMul"


def _not_at_the_bottom(proto: Any) -> None:
    proto.graph.node[0].op_type = "Relu"


@pytest.mark.parametrize("change", [_scaled, _of_another_kind, _not_at_the_bottom])
def test_a_graph_that_holds_more_is_left_to_others(graph: Graph, change: Callable[[Any], None]) -> None:
    assert LinearEngine.of(graph) is not None
    proto = parse(graph.topology)
    change(proto)
    assert LinearEngine.of(Graph(proto.SerializeToString(), graph.weights, graph.output_names)) is None
