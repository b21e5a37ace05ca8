from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn.functional import adaptive_avg_pool2d, layer_norm

from topwork.contracts import Array, Exportable, Graph, LinearHead
from topwork.engines.choice import EngineChoice, EngineName, build, reference
from topwork.engines.export import export
from topwork.engines.feature_maps import MAP, expose_feature_map
from topwork.engines.grafting import graft
from topwork.engines.graphs import assemble, parse
from topwork.inputs import modality
from topwork.steps.transfer import exportable_of
from topwork.trunks import resolve, topologies

Pool = Callable[[torch.Tensor], torch.Tensor]
N_CHANNELS = 5


class Pooled(torch.nn.Module):
    """One convolution, and some way of pooling."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, N_CHANNELS, 3)
        self.pool = pool

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.pool(self.conv(pixels.permute(0, 3, 1, 2).float() / 255))


def pixels(n: int, height: int = 8, width: int = 10) -> Array:
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def pooled(pool: Pool) -> Graph:
    torch.manual_seed(0)
    return export(Exportable(Pooled(pool).eval(), pixels(2), ("features",)))


def require_mean(graph: Graph, batch: Array, engine: EngineName | None = None) -> Array:
    """Run a graph with its map, hold the map's mean against the features, and return the map."""
    exposed = expose_feature_map(graph)
    assert exposed is not None
    assert exposed.output_names == (*graph.output_names, MAP)
    choice = EngineChoice(engine, "fp32") if engine else reference()
    found = build(choice, exposed, n_threads=1, n_streams=1).run(batch)
    scale = np.abs(found["features"]).max()
    assert scale > 0
    np.testing.assert_allclose(found[MAP].mean(axis=(2, 3)), found["features"], atol=1e-5 * scale)
    alone = build(choice, graph, n_threads=1, n_streams=1).run(batch)
    for name in graph.output_names:
        np.testing.assert_allclose(found[name], alone[name], rtol=1e-5, atol=1e-5 * scale)
    return found[MAP]


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    "pool",
    [
        lambda x: x.mean((2, 3)),
        lambda x: x.mean((-1, -2), keepdim=True).flatten(1),
        lambda x: adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1),
        lambda x: adaptive_avg_pool2d(x, 1).view(x.shape[0], -1),
        lambda x: x.permute(0, 2, 3, 1).mean((1, 2)),
    ],
    ids=["mean", "negative axes", "squeezed", "viewed", "channels last"],
)
def test_the_mean_of_the_map_is_the_features(pool: Pool, engine: EngineName) -> None:
    found = require_mean(pooled(pool), pixels(3), engine)
    assert found.shape == (3, N_CHANNELS, 6, 8)


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: x.amax((2, 3)),
        lambda x: layer_norm(x.mean((2, 3)), (N_CHANNELS,)),
        lambda x: x.flatten(2).mean(2),
        lambda x: x[:, :, 0, 0],
        lambda x: x.mean((2, 3)) * 2,
        lambda x: x[:, :, 0].mean(2),
    ],
    ids=["maximum", "normalised", "tokens", "corner", "scaled", "one line"],
)
def test_other_ways_of_pooling_have_no_map(pool: Pool) -> None:
    assert expose_feature_map(pooled(pool)) is None


def test_a_graph_without_features_has_no_map() -> None:
    graph = pooled(lambda x: x.mean((2, 3)))
    assert expose_feature_map(Graph(graph.topology, graph.weights, ("other",))) is None


def test_a_second_exposure_changes_nothing_and_the_first_leaves_the_graph_alone() -> None:
    graph = pooled(lambda x: x.mean((2, 3)))
    topology = graph.topology
    exposed = expose_feature_map(graph)
    assert exposed is not None
    assert expose_feature_map(exposed) is exposed
    assert (graph.topology, graph.output_names) == (topology, ("features",))
    onnx.checker.check_model(onnx.ModelProto.FromString(assemble(exposed)), full_check=True)


@pytest.mark.parametrize("version", [13, 18])
def test_axes_are_found_where_either_version_of_the_operators_has_them(version: int) -> None:
    axes = [numpy_helper.from_array(np.array([2, 3]), "axes")] if version >= 18 else []
    mean = helper.make_node(
        "ReduceMean",
        ["input", "axes"] if axes else ["input"],
        ["features"],
        keepdims=0,
        **({} if axes else {"axes": [2, 3]}),
    )
    made = helper.make_graph(
        [mean],
        "made",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 4, 3, 2])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 4])],
        axes,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", version)], ir_version=9)
    batch = np.random.default_rng(0).normal(size=(2, 4, 3, 2)).astype(np.float32)
    found = require_mean(Graph(model.SerializeToString(), {}, ("features",)), batch)
    np.testing.assert_array_equal(found, batch)


def test_a_folder_trunk_with_a_head_has_a_map(tiny_trunk: Path) -> None:
    trunk = resolve(str(tiny_trunk), {})
    exportable = exportable_of(trunk, modality("image"), tiny_trunk / "model.safetensors")
    weight = np.random.default_rng(1).normal(size=(3, trunk.card.n_features)).astype(np.float32)
    grown = graft(export(exportable), {"label": LinearHead(weight, np.zeros(3, np.float32))})
    require_mean(grown, pixels(2, *trunk.card.input_size))


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in topologies.shipped() if "minilm" not in n])
def test_a_shipped_network_for_pictures_has_a_map(name: str) -> None:
    graph = with_random_weights(name)
    side_px = parse(graph.topology).graph.input[0].type.tensor_type.shape.dim[1].dim_value
    found = require_mean(graph, pixels(2, side_px, side_px))
    assert found.shape[2:] == (-(-side_px // 32),) * 2
    assert np.abs(found - found.mean(axis=(2, 3), keepdims=True)).max() > 0


@pytest.mark.slow
def test_a_network_for_texts_has_none() -> None:
    assert expose_feature_map(with_random_weights("all-minilm-l6-v2")) is None


def with_random_weights(name: str) -> Graph:
    """Fill a shipped topology with weights that keep values in range from layer to layer."""
    folder = files("topwork.trunks").joinpath("topologies")
    topology = folder.joinpath(f"{name}.onnx").read_bytes()
    names = json.loads(folder.joinpath(f"{name}.json").read_text(encoding="utf-8"))
    draw = np.random.default_rng(0)
    weights = {}
    for initializer in parse(topology).graph.initializer:
        if initializer.name in names:
            shape = tuple(initializer.dims)
            fan_in = max(1, int(np.prod(shape[1:])))
            is_kernel = len(shape) > 1
            spread = (
                draw.normal(size=shape) * np.sqrt(2 / fan_in) if is_kernel else draw.uniform(0.5, 1.5, shape)
            )
            weights[initializer.name] = spread.astype(np.float32)
    assert set(weights) == set(names)
    return Graph(topology, weights, ("features",))
