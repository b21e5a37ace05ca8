"""The trunk of vectors: a length, a graph of one node, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from told import Told
from topwork.bundle.topology import check_graph
from topwork.contracts import LinearHead
from topwork.engines.choice import EngineChoice, build
from topwork.engines.grafting import graft
from topwork.errors import UsageError
from topwork.trunks import IdentityTrunk, resolve


def test_its_name_says_how_long_vectors_are() -> None:
    trunk = resolve("identity/12", {})
    assert trunk == IdentityTrunk(12)
    assert (trunk.card.name, trunk.card.n_features, trunk.card.n_parameters) == ("identity/12", 12, 0)
    assert trunk.preprocessing.to_json() == {"n_numbers": 12}
    assert trunk.identity != resolve("identity/13", {}).identity


def test_without_a_length_it_takes_that_of_the_data() -> None:
    trunk = resolve("identity", {})
    assert isinstance(trunk, IdentityTrunk)
    assert trunk.of_length(5) == IdentityTrunk(5)
    assert IdentityTrunk(7).of_length(5) == IdentityTrunk(7)


@pytest.mark.parametrize(
    "name", ["identity/0", "identity/-1", "identity/x", "identity/1/2", "identity/99999999"]
)
def test_a_wrong_length_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="expected identity/N with N from 1 to"):
        resolve(name, {})


def test_module_and_graph_pass_numbers_on(tmp_path: Path, told: Told) -> None:
    trunk = IdentityTrunk(3)
    weights = trunk.fetch(tmp_path, told)
    batch = np.array([[1, 2.5, -3], [0, 0, 1e30]], np.float32)
    module, graph = trunk.load(weights), trunk.graph(weights)
    assert torch.equal(module(torch.from_numpy(batch)), torch.from_numpy(batch))
    assert (list(tmp_path.iterdir()), trunk.stages(module), graph.weights) == ([], (), {})
    check_graph(graph)
    engine = build(EngineChoice("openvino", "fp32"), graph, n_threads=1, n_streams=1)
    np.testing.assert_array_equal(engine.run(batch)["features"], batch)


def test_a_library_that_compiles_networks_reads_its_graph_too(tmp_path: Path, told: Told) -> None:
    from topwork.engines.openvino import OpenVinoEngine

    trunk = IdentityTrunk(3)
    head = LinearHead(np.array([[1, 2, 3], [0, -1, 0]], np.float32), np.array([0.5, 0], np.float32))
    graph = graft(trunk.graph(trunk.fetch(tmp_path, told)), {"label": head})
    batch = np.array([[1, 2.5, -3]], np.float32)
    found = OpenVinoEngine(graph, n_threads=1).run(batch)
    np.testing.assert_array_equal(found["features"], batch)
    np.testing.assert_allclose(found["scores.label"], head.scores(batch), rtol=1e-6)
