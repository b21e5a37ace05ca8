"""Networks as files that processes map: they say the same, lie there once, and are forgotten when nobody asks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from topwork.contracts import Array, Engine, Graph
from topwork.engines.graphs import split
from topwork.engines.machine import Machine, processor_mark, shared
from topwork.engines.mapped import MODEL, WEIGHTS, forget, laid_out, made
from topwork.engines.onnxruntime import OnnxRuntimeEngine
from topwork.engines.openvino import OpenVinoEngine
from topwork.errors import BundleError, StorageError

ENGINES: list[Callable[..., Engine]] = [OpenVinoEngine, OnnxRuntimeEngine]
N_WIDE = 2048


@pytest.fixture(scope="module")
def wide() -> Graph:
    """One layer whose weights are worth a file, and a bias that is not."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {
        "weight": rng.normal(0, 0.1, (48, N_WIDE)).astype(np.float32),
        "bias": rng.normal(0, 0.1, (4,)).astype(np.float32),
        "narrow": rng.normal(0, 0.1, (N_WIDE, 4)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["input", "weight"], ["high"]),
        helper.make_node("Relu", ["high"], ["above"]),
        helper.make_node("MatMul", ["above", "narrow"], ["low"]),
        helper.make_node("Add", ["low", "bias"], ["features"]),
    ]
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 48])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(one, name) for name, one in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return split(model.SerializeToString(), frozenset(weights), ("features",))


def said(engine: Engine) -> Array:
    batch = np.random.default_rng(1).normal(0, 1, (3, 48)).astype(np.float32)
    return engine.run(batch)["features"]


def files(folder: Path) -> dict[str, int]:
    """Return which files there are, and which ones: another file of the same name has another number."""
    return {str(path.relative_to(folder)): path.stat().st_ino for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("start", ENGINES)
def test_a_mapped_network_says_the_same_and_is_written_once(
    start: Callable[..., Engine], wide: Graph, tmp_path: Path
) -> None:
    plain = said(start(wide, n_threads=1))
    first = said(start(wide, n_threads=1, shelf=tmp_path / "net"))
    there = files(tmp_path)
    second = said(start(wide, n_threads=1, shelf=tmp_path / "net"))
    np.testing.assert_allclose(first, plain, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(first, second)
    assert files(tmp_path) == there
    assert {Path(name).name for name in there} >= {MODEL, WEIGHTS}
    weights = next(tmp_path.rglob(WEIGHTS))
    assert weights.stat().st_size >= wide.weights["weight"].nbytes


@pytest.mark.skipif(sys.platform != "linux", reason="maps out of /proc")
@pytest.mark.parametrize("start", ENGINES)
def test_its_weights_are_mapped(start: Callable[..., Engine], wide: Graph, tmp_path: Path) -> None:
    engine = start(wide, n_threads=1, shelf=tmp_path / "net")
    said(engine)
    assert str(next(tmp_path.rglob(WEIGHTS))) in Path("/proc/self/maps").read_text()


def test_several_at_once_end_with_one(wide: Graph, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: laid_out(wide, tmp_path / "net"), range(8)))
    assert set(paths) == {tmp_path / "net" / MODEL}
    assert [path.name for path in tmp_path.iterdir()] == ["net"], "nothing unfinished is left"


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match=r"(?i)space"):
        made(tmp_path / "net", fail)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        made(tmp_path / "file" / "net", lambda _: None)


def test_a_weight_that_is_missing_is_told(wide: Graph, tmp_path: Path) -> None:
    lacking = Graph(wide.topology, {"bias": wide.weights["bias"]}, wide.output_names)
    with pytest.raises(BundleError, match="The weight weight is missing"):
        laid_out(lacking, tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_who_was_not_asked_for_long_is_forgotten(wide: Graph, tmp_path: Path) -> None:
    for name, age_s in (("old", 100.0), ("young", 10.0)):
        laid_out(wide, tmp_path / name)
        os.utime(tmp_path / name, (1000.0 - age_s, 1000.0 - age_s))
    assert forget(tmp_path, older_than_s=50.0, now_s=1000.0) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["young"]
    laid_out(wide, tmp_path / "young")
    assert forget(tmp_path, older_than_s=50.0, now_s=1000.0) == 0, "it was asked for just now"
    assert forget(tmp_path / "none", older_than_s=50.0, now_s=1000.0) == 0


def test_a_processor_is_known_by_its_instructions(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    marks = set()
    for flags in ("avx avx2", "avx2 avx", "avx512f avx avx2"):
        (tmp_path / "proc" / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
        marks.add(processor_mark(tmp_path))
    assert len(marks) == 2


def test_a_share_is_of_what_there_is() -> None:
    machine = Machine(4, frozenset(), 0, frozenset())
    assert [shared(machine, n).n_cores for n in (None, 1, 4, 9, 0)] == [4, 1, 4, 4, 1]
