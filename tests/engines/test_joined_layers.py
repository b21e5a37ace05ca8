"""Linear layers that read the same: one product in their place, and nothing else of the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from topwork.contracts import Array
from topwork.engines.joined_layers import join_layers
from topwork.engines.openvino import core

N_IN = 6


def layer(states: Any, n_out: int, seed: int, *, lies: str = "rows") -> tuple[Any, Array]:
    """Return a product of states with a matrix that lies by rows, by columns, or by rows and is transposed."""
    from openvino import opset13

    weight = np.random.default_rng(seed).normal(size=(n_out, N_IN)).astype(np.float32)
    if lies == "rows":
        return opset13.matmul(states, opset13.constant(weight), transpose_a=False, transpose_b=True), weight
    if lies == "columns":
        return opset13.matmul(states, opset13.constant(np.ascontiguousarray(weight.T)), False, False), weight
    turned = opset13.transpose(opset13.constant(weight), opset13.constant([1, 0]))
    return opset13.matmul(states, turned, transpose_a=False, transpose_b=False), weight


def products(model: Any) -> int:
    return sum(one.get_type_name() == "MatMul" for one in model.get_ordered_ops())


def computed(model: Any, states: Array) -> list[Array]:

    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    found = core().compile_model(model, "CPU", settings)(states)
    return [np.array(found[i]) for i in range(len(model.outputs))]


@pytest.mark.parametrize("lies", ["rows", "columns", "turned"])
def test_layers_that_read_the_same_become_one_and_give_the_same(lies: str) -> None:
    from openvino import Model, opset13

    states = opset13.parameter([-1, N_IN], np.float32)
    one, first = layer(states, 4, 1, lies=lies)
    two, second = layer(states, 3, 2, lies="rows")
    apart, third = layer(opset13.relu(states), 5, 3, lies=lies)
    model = Model([one, two, apart], [states], "three")
    given = np.random.default_rng(0).normal(size=(7, N_IN)).astype(np.float32)
    assert products(model) == 3
    assert join_layers(model) == 1
    assert products(model) == 2
    expected = [given @ first.T, given @ second.T, np.maximum(given, 0) @ third.T]
    for found, right in zip(computed(model, given), expected, strict=True):
        assert np.allclose(found, right, atol=1e-5)


def test_layers_with_a_bias_and_products_of_states_stay_apart() -> None:
    from openvino import Model, opset13

    states, others = opset13.parameter([-1, N_IN], np.float32), opset13.parameter([N_IN, 2], np.float32)
    bias = opset13.constant(np.ones(4, np.float32))
    outputs = [opset13.add(layer(states, 4, seed)[0], bias) for seed in range(2)]
    outputs += [opset13.matmul(states, others, False, False), layer(states, 3, 5)[0]]
    model = Model(outputs, [states, others], "apart")
    assert join_layers(model) == 0
    assert products(model) == 4
