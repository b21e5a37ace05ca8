"""Eight bits by NNCF: a standard graph that both engines run, near the network that it was made from."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tiny_networks import N_FEATURES
from topwork.bundle.topology import check_graph
from topwork.contracts import Array, Graph, LinearHead
from topwork.engines.choice import EngineChoice, build
from topwork.engines.grafting import graft, trim
from topwork.engines.graphs import is_quantized, parse
from topwork.engines.onnxruntime import OnnxRuntimeEngine
from topwork.engines.openvino import OpenVinoEngine
from topwork.engines.quantization import MIN_EXAMPLES, quantize
from topwork.errors import TopworkError, UsageError

pytest.importorskip("nncf", exc_type=ImportError)

K = 3


def examples(n: int, seed: int = 3) -> list[Array]:
    return list(np.random.default_rng(seed).integers(0, 256, (n, 8, 10, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def headed(graph: Graph) -> Graph:
    rng = np.random.default_rng(1)
    head = LinearHead(
        rng.normal(size=(K, N_FEATURES)).astype(np.float32), rng.normal(size=K).astype(np.float32)
    )
    return graft(graph, {"label": head, "other": head})


@pytest.fixture(scope="module")
def quantized(headed: Graph) -> Graph:
    return quantize(headed, examples(24), lambda _: None)


def test_it_is_a_standard_graph_whose_weights_are_of_eight_bits(headed: Graph, quantized: Graph) -> None:
    check_graph(quantized)
    assert is_quantized(quantized)
    assert not is_quantized(headed)
    assert quantized.output_names == headed.output_names
    assert {one.domain for one in parse(quantized.topology).opset_import} == {""}
    assert any(one.dtype == np.int8 for one in quantized.weights.values())


def test_heads_stay_in_floating_point(headed: Graph, quantized: Graph) -> None:
    names = {one.name: one for one in parse(quantized.topology).graph.initializer}
    for name in ("heads.label.weight", "heads.other.bias"):
        if name in quantized.weights:
            np.testing.assert_array_equal(quantized.weights[name], headed.weights[name])
        else:
            assert names[name].data_type == 1  # float


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_both_engines_give_nearly_what_the_network_gave(headed: Graph, quantized: Graph, engine: str) -> None:
    batch = np.stack(examples(16, seed=9))
    exact = build(EngineChoice("onnxruntime", "fp32"), headed, n_threads=1, n_streams=1).run(batch)
    short = build(EngineChoice(engine, "fp32"), quantized, n_threads=1, n_streams=1)  # type: ignore[arg-type]
    assert short.precision == "int8"  # whatever was asked for
    for name, found in short.run(batch).items():
        error = np.sqrt(np.mean((found - exact[name]) ** 2)) / np.std(exact[name])
        assert 1e-5 < error < 0.2, name
    alone = np.concatenate([short.run(row[None])["features"] for row in batch])
    np.testing.assert_allclose(alone, short.run(batch)["features"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_processes_may_share_its_weights(quantized: Graph, engine: str, tmp_path: Path) -> None:
    batch = np.stack(examples(4, seed=9))
    choice = EngineChoice(engine, "int8")  # type: ignore[arg-type]
    own = build(choice, quantized, n_threads=1, n_streams=1).run(batch)
    for _ in range(2):  # written, and found
        mapped = build(choice, quantized, n_threads=1, n_streams=1, shelf=tmp_path).run(batch)
        for name, found in mapped.items():
            np.testing.assert_allclose(found, own[name], rtol=1e-5, atol=1e-6)


def test_heads_can_be_taken_off(quantized: Graph) -> None:
    trimmed = trim(quantized, ["label"])
    check_graph(trimmed)
    assert trimmed.output_names == ("features", "scores.label")
    found = build(EngineChoice("onnxruntime", "int8"), trimmed, n_threads=1, n_streams=1)
    assert found.run(np.stack(examples(2)))["scores.label"].shape == (2, K)


def test_the_precision_must_be_that_of_the_graph(headed: Graph, quantized: Graph) -> None:
    for engine in (OpenVinoEngine, OnnxRuntimeEngine):
        assert engine(quantized, "int8", n_threads=1).precision == "int8"
        with pytest.raises(UsageError, match="int8"):
            engine(headed, "int8", n_threads=1)
    with pytest.raises(UsageError, match="in int8, not in fp32"):
        OnnxRuntimeEngine(quantized, "fp32", n_threads=1)


def test_it_says_nothing_and_counts_its_examples(graph: Graph, capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[int] = []
    quantize(graph, examples(MIN_EXAMPLES), seen.append)
    assert sum(seen) >= MIN_EXAMPLES
    assert capfd.readouterr() == ("", "")


def test_it_leaves_the_log_of_the_process_as_it_was(graph: Graph, caplog: pytest.LogCaptureFixture) -> None:
    quantize(graph, examples(24), lambda _: None)
    logging.getLogger("topwork.of_somebody").error("heard")
    assert "heard" in caplog.text


def test_it_does_not_report_to_the_makers_of_nncf() -> None:
    """In a process of its own, because NNCF reports nothing below pytest."""
    script = (
        "import sys, numpy as np\n"
        "from tiny_bundle import tiny_graph\n"
        "from topwork.engines.quantization import quantize\n"
        "draw = np.random.default_rng(0)\n"
        "examples = [draw.integers(0, 256, (4, 4, 3), dtype=np.uint8) for _ in range(8)]\n"
        "quantize(tiny_graph(), examples, lambda _: None)\n"
        "print(type(sys.modules['nncf.telemetry.wrapper'].telemetry).__name__)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "NNCF_CI"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment
    )
    assert (done.returncode, done.stdout) == (0, "MagicMock\n"), done.stderr


def test_too_few_examples_and_what_is_no_network_are_refused(graph: Graph) -> None:
    with pytest.raises(UsageError, match=f"at least {MIN_EXAMPLES}"):
        quantize(graph, examples(MIN_EXAMPLES - 1), lambda _: None)
    with pytest.raises(TopworkError):
        quantize(graph, [one[:, :4] for one in examples(MIN_EXAMPLES)], lambda _: None)
