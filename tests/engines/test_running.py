"""What every engine keeps to; what is peculiar to one stands at the end."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from tiny_networks import N_FEATURES, SmallNetwork, TwoOutputs
from topwork.contracts import Array, Engine, Exportable, Graph
from topwork.engines.choice import EngineChoice, build
from topwork.engines.onnxruntime import OnnxRuntimeEngine
from topwork.engines.openvino import OpenVinoEngine
from topwork.engines.torch import TorchEngine
from topwork.errors import BundleError, TopworkError, UsageError

Start = Callable[[Exportable, Graph], Engine]

ENGINES: dict[str, Start] = {
    "openvino": lambda _, graph: build(EngineChoice("openvino", "fp32"), graph, n_threads=2, n_streams=1),
    "openvino, 2 streams": lambda _, graph: OpenVinoEngine(graph, n_threads=2, n_streams=2),
    "onnxruntime": lambda _, graph: build(
        EngineChoice("onnxruntime", "fp32"), graph, n_threads=2, n_streams=1
    ),
    "onnxruntime, 2 streams": lambda _, graph: OnnxRuntimeEngine(graph, n_threads=2, n_streams=2),
    "torch": lambda exportable, _: TorchEngine(exportable),
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, exportable: Exportable, graph: Graph) -> Engine:
    return ENGINES[request.param](exportable, graph)


def pixels(n: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 10, 3), dtype=np.uint8)


def expected(exportable: Exportable, batch: Array) -> Array:
    with torch.inference_mode():
        features: Array = exportable.module(torch.from_numpy(batch.copy())).numpy()
    return features


def test_an_engine_gives_what_the_module_gives(engine: Engine, exportable: Exportable) -> None:
    found = engine.run(pixels(4))
    assert list(found) == ["features"]
    assert found["features"].dtype == np.float32
    np.testing.assert_allclose(found["features"], expected(exportable, pixels(4)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 17])
def test_a_batch_may_have_any_size(engine: Engine, exportable: Exportable, n: int) -> None:
    assert engine.run(pixels(n))["features"].shape == (n, N_FEATURES)


def test_an_answer_does_not_depend_on_its_neighbours(engine: Engine) -> None:
    together = engine.run(pixels(6))["features"]
    alone = np.concatenate([engine.run(row[None])["features"] for row in pixels(6)])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_a_later_call_does_not_change_an_earlier_answer(engine: Engine) -> None:
    first = engine.run(pixels(3))["features"]
    kept = first.copy()
    engine.run(pixels(3, seed=1))
    np.testing.assert_array_equal(first, kept)


def test_the_caller_keeps_its_batch_and_may_write_into_the_answer(engine: Engine) -> None:
    batch = pixels(3)
    found = engine.run(batch)["features"]
    np.testing.assert_array_equal(batch, pixels(3))
    found += 1


def test_a_batch_may_be_a_view(engine: Engine, exportable: Exportable) -> None:
    view = pixels(9)[::3, :, ::-1]
    np.testing.assert_allclose(engine.run(view)["features"], expected(exportable, view), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("error")
def test_a_batch_may_be_read_only(engine: Engine) -> None:
    batch = pixels(2)
    batch.flags.writeable = False
    assert engine.run(batch)["features"].shape == (2, N_FEATURES)


def test_many_threads_get_their_own_answers(engine: Engine, exportable: Exportable) -> None:
    batches = [pixels(1 + seed % 4, seed) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda batch: engine.run(batch)["features"], batches))
    assert len(found) == 40
    for batch, features in zip(batches, found, strict=True):
        np.testing.assert_allclose(features, expected(exportable, batch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 8, 10, 4), (2, 8, 10), (2, 7, 10, 3)])
def test_a_batch_of_another_shape_is_refused_and_the_engine_goes_on(
    engine: Engine, shape: tuple[int, ...]
) -> None:
    if isinstance(engine, TorchEngine) and shape == (2, 7, 10, 3):
        pytest.skip("a module takes pictures of any size")
    for _ in range(engine.n_streams + 1):
        with pytest.raises(TopworkError, match=re.escape(str(list(shape)))):
            engine.run(np.zeros(shape, np.uint8))
    assert engine.run(pixels(2))["features"].shape == (2, N_FEATURES)


def test_an_engine_says_what_it_is(engine: Engine) -> None:
    library = importlib.import_module(engine.name)
    assert library.__version__.startswith(engine.version)
    assert engine.precision == "fp32"
    assert engine.n_streams >= 1


def test_several_outputs_come_in_their_order(exportable: Exportable) -> None:
    two = Exportable(TwoOutputs().eval(), exportable.example, ("features", "squares"))
    found = TorchEngine(two).run(pixels(2))
    assert list(found) == ["features", "squares"]
    np.testing.assert_allclose(found["squares"], found["features"] ** 2, rtol=1e-6)


# --- one by one -----------------------------------------------------------------------------------------


def test_bf16_is_near_and_is_handed_out_as_float32(exportable: Exportable) -> None:
    engine = TorchEngine(exportable, precision="bf16")
    found = engine.run(pixels(4))["features"]
    assert engine.precision == "bf16"
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(exportable, pixels(4)), rtol=0.05, atol=0.02)
    assert np.abs(found - expected(exportable, pixels(4))).max() > 0


def test_torch_leaves_the_callers_module_alone(exportable: Exportable) -> None:
    module = SmallNetwork().eval()
    weight = module.conv.weight
    strides = weight.stride()
    TorchEngine(replace(exportable, module=module), precision="bf16").run(pixels(1))
    assert weight is module.conv.weight
    assert weight.stride() == strides
    assert weight.dtype == torch.float32


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told(exportable: Exportable) -> None:
    with pytest.raises(UsageError, match="sees no GPU"):
        TorchEngine(exportable, "cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_gpu_gives_the_same(exportable: Exportable, precision: str) -> None:
    engine = TorchEngine(exportable, "cuda", precision)  # type: ignore[arg-type]
    tolerance = 1e-3 if precision == "fp32" else 0.05
    np.testing.assert_allclose(
        engine.run(pixels(4))["features"], expected(exportable, pixels(4)), rtol=tolerance, atol=tolerance
    )


def test_a_precision_that_an_engine_does_not_have_is_refused(exportable: Exportable, graph: Graph) -> None:
    with pytest.raises(UsageError, match="bf16"):
        OnnxRuntimeEngine(graph, "bf16", n_threads=1)
    with pytest.raises(UsageError, match="int8"):
        OpenVinoEngine(graph, "int8", n_threads=1)
    for precision in ("int8", "fp16"):
        with pytest.raises(UsageError, match=precision):
            TorchEngine(exportable, "cpu", precision)


@pytest.mark.parametrize("start", [OpenVinoEngine, OnnxRuntimeEngine])
def test_a_graph_that_cannot_run_is_refused(graph: Graph, start: Callable[..., Engine]) -> None:
    with pytest.raises(BundleError):
        start(replace(graph, topology=b"\xff\xff"), n_threads=1)
    with pytest.raises(TopworkError):
        start(replace(graph, topology=b"", weights={}), n_threads=1)


@pytest.mark.parametrize("start", [OpenVinoEngine, OnnxRuntimeEngine])
@pytest.mark.parametrize(("n_threads", "n_streams"), [(0, 1), (1, 0), (2, -1)])
def test_threads_and_streams_are_at_least_one(
    graph: Graph, start: Callable[..., Engine], n_threads: int, n_streams: int
) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        start(graph, n_threads=n_threads, n_streams=n_streams)
