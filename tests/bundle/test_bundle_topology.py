"""Graphs out of files: standard operators, numbers from the bundle alone, the expected ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tiny_bundle import tiny_graph
from topwork.bundle.topology import check_graph
from topwork.errors import BundleError


def edited(change: Callable[[Any], object]) -> bytes:
    model = onnx.ModelProto.FromString(tiny_graph().topology)
    change(model)
    topology: bytes = model.SerializeToString()
    return topology


def external(where: str, name: str = "secret") -> Any:
    tensor = TensorProto(name=name, dims=[1], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=where)
    return tensor


def constant(tensor: Any) -> Any:
    return helper.make_node("Constant", [], ["c"], value=tensor)


def branch(node: Any = None, tensor: Any = None) -> Any:
    """A node that holds a graph, which holds what is given."""
    inner = helper.make_graph([node] if node else [], "inner", [], [], [tensor] if tensor else [])
    return helper.make_node("If", ["condition"], ["x"], then_branch=inner, else_branch=inner)


EDITS: dict[str, tuple[Callable[[Any], object], str]] = {
    "an operator of somebody's": (
        lambda m: m.graph.node.append(helper.make_node("Run", ["input"], ["x"], domain="evil.ops")),
        "beyond the ONNX standard: evil.ops",
    ),
    "a set of operators of somebody's": (
        lambda m: m.opset_import.append(helper.make_opsetid("evil.ops", 1)),
        "beyond the ONNX standard",
    ),
    "an operator inside a branch": (
        lambda m: m.graph.node.append(branch(helper.make_node("Run", [], [], domain="com.evil"))),
        "beyond the ONNX standard: com.evil",
    ),
    "an operator two branches deep": (
        lambda m: m.graph.node.append(branch(branch(helper.make_node("Run", [], [], domain="com.evil")))),
        "beyond the ONNX standard: com.evil",
    ),
    "a function": (
        lambda m: m.functions.append(helper.make_function("f", "g", [], [], [], [])),
        "functions of its own",
    ),
    "a weight in another file": (
        lambda m: m.graph.initializer.append(external("/etc/passwd")),
        "another file: '/etc/passwd'",
    ),
    "a weight further up": (
        lambda m: m.graph.initializer.append(external("../weights.safetensors")),
        "another file",
    ),
    "a constant in another file": (
        lambda m: m.graph.node.append(constant(external("/dev/zero"))),
        "another file: '/dev/zero'",
    ),
    "a constant that no engine is given": (
        lambda m: m.graph.node.append(constant(external("weights.safetensors"))),
        "another file",
    ),
    "a weight of a branch in another file": (
        lambda m: m.graph.node.append(branch(tensor=external("weights.safetensors"))),
        "another file",
    ),
    "a weight that is not there": (
        lambda m: m.graph.initializer.append(external("weights.safetensors")),
        "'secret' as [1]; weights.safetensors lacks it",
    ),
    "another input": (
        lambda m: m.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1])),
        "'input' or tokens, positions, wanted were expected",
    ),
    "no input": (lambda m: m.graph.ClearField("input"), "'input' or tokens, positions, wanted were expected"),
    "another output": (lambda m: m.graph.output.pop(), "has the outputs"),
    "an output twice": (lambda m: m.graph.output.append(m.graph.output[0]), "has the outputs"),
}


def test_the_graph_as_it_was_exported_passes() -> None:
    check_graph(tiny_graph())
    check_graph(tiny_graph(("a", "b")))


@pytest.mark.parametrize("edit", EDITS)
def test_a_graph_that_reaches_out_is_refused(edit: str) -> None:
    change, words = EDITS[edit]
    with pytest.raises(BundleError) as caught:
        check_graph(replace(tiny_graph(), topology=edited(change)))
    assert words in str(caught.value)


def test_a_weight_of_another_shape_is_refused() -> None:
    graph = tiny_graph()
    weights = {**graph.weights, "trunk.bias": np.zeros(3, np.float32)}
    with pytest.raises(BundleError, match=r"'trunk\.bias' as \[8\]; weights\.safetensors has \[3\]"):
        check_graph(replace(graph, weights=weights))


@pytest.mark.parametrize("topology", [b"\xff\xff", b"not a model", tiny_graph().topology[:-7]])
def test_what_is_no_model_is_refused(topology: bytes) -> None:
    with pytest.raises(BundleError):
        check_graph(replace(tiny_graph(), topology=topology))
