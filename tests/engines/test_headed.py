"""A module with the heads of a graph gives what the graph gives; CUDA graphs are refused where there is no GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tiny_networks import N_FEATURES
from topwork.contracts import Array, Exportable, Graph, LinearHead
from topwork.engines.choice import EngineChoice, build
from topwork.engines.cuda_graphs import CudaGraphEngine
from topwork.engines.grafting import graft
from topwork.engines.headed import Headed
from topwork.engines.torch import TorchEngine
from topwork.errors import UsageError


def layer(k: int, d: int, seed: int, *hidden: LinearHead) -> LinearHead:
    rng = np.random.default_rng(seed)
    return LinearHead(
        rng.normal(size=(k, d)).astype(np.float32), rng.normal(size=k).astype(np.float32), hidden
    )


def pixels(n: int) -> Array:
    return np.random.default_rng(5).integers(0, 256, (n, 8, 10, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def headed(graph: Graph) -> Graph:
    wide = layer(4, N_FEATURES, 1)
    return graft(graph, {"plain": layer(3, N_FEATURES, 0), "deep": layer(2, 4, 2, wide)})


def module_of(exportable: Exportable, graph: Graph) -> Exportable:
    module = Headed(exportable.module, graph.weights, graph.output_names)
    return Exportable(module, exportable.example, graph.output_names)


def test_a_module_with_heads_gives_what_the_graph_gives(exportable: Exportable, headed: Graph) -> None:
    expected = build(EngineChoice("onnxruntime", "fp32"), headed, n_threads=1, n_streams=1).run(pixels(5))
    found = TorchEngine(module_of(exportable, headed)).run(pixels(5))
    assert list(found) == ["features", "scores.plain", "scores.deep"]
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_graphs_need_a_gpu(exportable: Exportable) -> None:
    with pytest.raises(UsageError, match="sees no GPU"):
        CudaGraphEngine(exportable, "bf16")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_recorded_call_gives_the_same_for_every_shape(
    exportable: Exportable, headed: Graph, precision: str
) -> None:
    one = module_of(exportable, headed)
    engine = CudaGraphEngine(one, precision)  # type: ignore[arg-type]
    tolerance = 1e-3 if precision == "fp32" else 0.1
    for n in (1, 4, 1, 7):
        expected = TorchEngine(one).run(pixels(n))
        for name, values in engine.run(pixels(n)).items():
            np.testing.assert_allclose(values, expected[name], rtol=tolerance, atol=tolerance)
