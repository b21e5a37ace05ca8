from __future__ import annotations

from dataclasses import replace

import pytest

from topwork.contracts import Graph
from topwork.engines.choice import EngineChoice, build, choose, reference
from topwork.engines.machine import Machine, installed
from topwork.errors import MissingExtraError, UsageError

ALL = frozenset({"openvino", "onnxruntime", "torch"})
PLAIN = Machine(n_cores=2, cpu_flags=frozenset({"avx2"}), memory_bytes=1 << 34, engines=ALL)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (PLAIN, EngineChoice("openvino", "fp32")),
        (replace(PLAIN, cpu_flags=frozenset({"avx512f", "avx512_vnni"})), EngineChoice("openvino", "fp32")),
        (replace(PLAIN, cpu_flags=frozenset({"avx512_bf16"})), EngineChoice("openvino", "bf16")),
        (replace(PLAIN, cpu_flags=frozenset({"amx_bf16"})), EngineChoice("openvino", "bf16")),
        (replace(PLAIN, cpu_flags=frozenset()), EngineChoice("openvino", "fp32")),
        (replace(PLAIN, has_cuda=True, has_cuda_bf16=True), EngineChoice("torch", "bf16")),
        (replace(PLAIN, has_cuda=True), EngineChoice("torch", "fp16")),
        (replace(PLAIN, has_cuda=True, engines=ALL - {"torch"}), EngineChoice("openvino", "fp32")),
        (replace(PLAIN, engines=ALL - {"openvino"}), EngineChoice("onnxruntime", "fp32")),
        (replace(PLAIN, engines=frozenset({"torch"})), EngineChoice("torch", "fp32")),
    ],
)
def test_the_fastest_engine_of_a_machine_is_chosen(machine: Machine, expected: EngineChoice) -> None:
    assert choose(machine) == expected


def test_a_machine_without_engines_is_told_what_to_install() -> None:
    with pytest.raises(MissingExtraError) as caught:
        choose(replace(PLAIN, engines=frozenset()))
    assert "pip install" in caught.value.next_step


def test_the_reference_runs_graphs_in_fp32() -> None:
    chosen = reference()
    assert chosen.name in installed()
    assert chosen.name != "torch"
    assert chosen.precision == "fp32"


def test_torch_is_not_built_from_a_graph(graph: Graph) -> None:
    with pytest.raises(UsageError, match="not a graph"):
        build(EngineChoice("torch", "fp32"), graph, n_threads=1, n_streams=1)


def test_what_is_built_is_what_was_chosen(graph: Graph) -> None:
    visited = 0
    for name in sorted(installed() - {"torch"}):
        choice = EngineChoice(name, "fp32")  # type: ignore[arg-type]
        engine = build(choice, graph, n_threads=1, n_streams=1)
        assert (engine.name, engine.precision, engine.n_streams) == (name, "fp32", 1)
        visited += 1
    assert visited == 2
