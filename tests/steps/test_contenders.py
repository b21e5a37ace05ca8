"""Which engines and number formats there are to try on a machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tiny_bundle import tiny_graph
from topwork.engines.machine import Machine
from topwork.errors import UsageError
from topwork.steps.contenders import Contender, Graphs, planned, start

PLAIN = Machine(2, frozenset(), 0, frozenset({"openvino", "onnxruntime", "torch"}))


def names(machine: Machine) -> list[str]:
    return [one.name for one in planned(machine)]


def test_everything_that_is_installed_is_tried_the_most_exact_first() -> None:
    assert names(PLAIN) == [
        "openvino fp32",
        "onnxruntime fp32",
        "torch fp32",
        "openvino int8",
        "onnxruntime int8",
    ]


def test_bf16_is_tried_where_the_processor_has_it() -> None:
    has_it = replace(PLAIN, cpu_flags=frozenset({"avx512_bf16"}))
    assert set(names(has_it)) - set(names(PLAIN)) == {"openvino bf16", "torch bf16"}
    without = replace(has_it, engines=frozenset({"onnxruntime"}))
    assert names(without) == ["onnxruntime fp32", "onnxruntime int8"]


def test_a_gpu_is_tried_through_torch_in_the_format_that_it_has() -> None:
    old = replace(PLAIN, has_cuda=True)
    assert set(names(old)) - set(names(PLAIN)) == {"torch fp16 on the GPU"}
    new = replace(old, has_cuda_bf16=True)
    assert set(names(new)) - set(names(PLAIN)) == {"torch bf16 on the GPU"}
    assert planned(new)[-3] == Contender("torch", "bf16", "cuda")
    no_torch = replace(new, engines=frozenset({"openvino"}))
    assert names(no_torch) == ["openvino fp32", "openvino int8"]


def test_what_torch_runs_is_no_bundle() -> None:
    assert [one.is_servable for one in planned(PLAIN)] == [True, True, False, True, True]


def test_eight_bits_that_could_not_be_made_say_why() -> None:
    graphs = Graphs(tiny_graph(), problem="not made: no examples")
    with pytest.raises(UsageError, match="not made: no examples"):
        start(Contender("openvino", "int8"), graphs, lambda: pytest.fail("no module is wanted"), n_cores=1)
    engine = start(
        Contender("onnxruntime", "fp32"), graphs, lambda: pytest.fail("no module is wanted"), n_cores=1
    )
    assert (engine.name, engine.precision) == ("onnxruntime", "fp32")
