"""The networks that come exported are those that timm and transformers build, and so is the tokeniser."""

from __future__ import annotations

import json
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from topwork import Surroundings, plugins
from topwork.engines.choice import build, reference
from topwork.engines.export import verify
from topwork.errors import WeightsError
from topwork.inputs import TextPreprocessing, modality
from topwork.steps.transfer import exportable_of
from topwork.trunks import topologies
from topwork.trunks.encoder_trunk import EncoderTrunk
from topwork.trunks.text_catalogue import ALL_MINILM_L6_V2
from topwork.trunks.timm_trunk import TimmTrunk

CATALOGUE = {name: one for name, one in plugins.trunks().items() if isinstance(one, TimmTrunk | EncoderTrunk)}


def test_every_trunk_of_the_catalogue_comes_exported() -> None:
    assert set(topologies.shipped()) == {one.topology for one in CATALOGUE.values()}
    assert len(topologies.shipped()) == 5


@pytest.mark.parametrize("name", topologies.shipped())
def test_a_topology_holds_no_weights_and_no_path(name: str) -> None:
    content = files("topwork.trunks").joinpath("topologies", f"{name}.onnx").read_bytes()
    assert len(content) < 250_000
    assert b"/home" not in content
    assert b"site-packages" not in content


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file({"a": np.zeros(3, dtype=np.float32)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="does not hold the weights of efficientnet-lite0"):
        topologies.graph("efficientnet-lite0", tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes(b"damaged")
    with pytest.raises(WeightsError):
        topologies.graph("efficientnet-lite0", tmp_path / "w.safetensors")


def test_a_trunk_without_a_topology_says_so(tiny_trunk: Path) -> None:
    from topwork.trunks import resolve

    assert resolve(str(tiny_trunk), {}).graph(tiny_trunk / "model.safetensors") is None


def test_the_tables_name_every_weight_once() -> None:
    for name in topologies.shipped():
        text = files("topwork.trunks").joinpath("topologies", f"{name}.json").read_text(encoding="utf-8")
        names = json.loads(text)
        assert len(names) > 100
        assert len(set(names.values())) == len(names)


@pytest.mark.slow
@pytest.mark.parametrize("name", CATALOGUE)
def test_a_shipped_network_gives_what_its_library_gives(name: str, around: Surroundings) -> None:
    trunk = CATALOGUE[name]
    weights = trunk.fetch(around.cache_dir, around.progress)
    graph = trunk.graph(weights)
    assert graph is not None
    exportable = exportable_of(trunk, modality(trunk.card.modality), weights)
    verify(exportable, graph, build(reference(), graph, n_threads=2, n_streams=1))


def test_the_tokeniser_is_the_one_in_the_package_of_the_weights() -> None:
    spec = ALL_MINILM_L6_V2.preprocessing
    assert isinstance(spec, TextPreprocessing)
    expected = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
    assert sha256(spec.tokenizer.encode()).hexdigest() == expected
    assert spec.window == 256


@pytest.mark.slow
def test_the_language_model_that_came_exported_is_the_one_that_transformers_builds(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file as save_tensors

    from topwork.engines.paged import PagedEngine, Part
    from topwork.trunks.causal import build
    from topwork.trunks.writer_catalogue import SMOLLM2_135M

    network = build(SMOLLM2_135M.config)
    state = {name: value for name, value in network.state_dict().items() if name != "lm_head.weight"}
    save_tensors(state, tmp_path / "w.safetensors")
    graph = SMOLLM2_135M.graph(tmp_path / "w.safetensors")
    assert graph is not None
    tokens = tuple(range(3, 60))
    found = PagedEngine(graph, n_threads=1, cache_bytes=1).run([Part(tokens, 0, [0, 1], 5)])
    with torch.inference_mode():
        expected = network(torch.tensor([tokens])).logits[0, -5:].numpy()
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
