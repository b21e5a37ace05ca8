"""Weights in eight bits: which ones, and how near."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13

from topwork.contracts import Array
from topwork.engines.weight_compression import compress_weights

DRAW = np.random.default_rng(0)
WEIGHT = (DRAW.normal(size=(160, 128)) * np.exp(DRAW.normal(size=(160, 1)))).astype(np.float32)


def model_of(weight: Array, *, transposed: bool = True) -> ov.Model:
    states = opset13.parameter([-1, weight.shape[1 if transposed else 0]], np.float32)
    return ov.Model([opset13.matmul(states, opset13.constant(weight), False, transposed)], [states], "m")


def run(model: ov.Model, states: Array) -> Array:
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled(states)[0])


@pytest.mark.parametrize("transposed", [True, False])
def test_products_are_nearly_the_same_each_output_by_its_own_scale(transposed: bool) -> None:
    weight = WEIGHT if transposed else np.ascontiguousarray(WEIGHT.T)
    states = DRAW.normal(size=(60, 128)).astype(np.float32)
    model = model_of(weight, transposed=transposed)
    assert compress_weights(model) == 1
    found, exact = run(model, states), states @ WEIGHT.T
    off = np.sqrt(((found - exact) ** 2).mean(axis=0) / (exact**2).mean(axis=0))
    assert 1e-4 < off.max() < 0.03  # of small outputs as of large ones


def test_the_numbers_are_kept_in_eight_bits() -> None:
    model = model_of(WEIGHT)
    compress_weights(model)
    large = [
        node
        for node in model.get_ops()
        if node.get_type_name() == "Constant"
        and node.get_output_size()
        and np.prod(node.get_output_shape(0)) == WEIGHT.size
    ]
    assert [node.get_element_type() for node in large] == [ov.Type.i8]
    assert int(np.abs(large[0].get_data()).max()) == 127


def test_a_row_of_zeros_stays_one() -> None:
    weight = WEIGHT.copy()
    weight[3] = 0
    model = model_of(weight)
    compress_weights(model)
    found = run(model, np.ones((1, 128), np.float32))
    assert found[0, 3] == 0
    assert np.isfinite(found).all()


def test_small_matrices_and_what_is_added_stay_as_they_are() -> None:
    assert compress_weights(model_of(WEIGHT[:20])) == 0
    states = opset13.parameter([160, 128], np.float32)
    assert compress_weights(ov.Model([opset13.add(states, opset13.constant(WEIGHT))], [states], "m")) == 0


def test_a_table_that_is_looked_up_and_multiplied_is_one_still() -> None:
    table = opset13.constant(WEIGHT)
    places = opset13.parameter([-1], np.int64)
    rows = opset13.gather(table, places, opset13.constant(0))
    model = ov.Model([opset13.matmul(rows, table, False, True)], [places], "m")
    assert compress_weights(model) == 1
    chosen = np.array([4, 150])
    found, exact = run(model, chosen), WEIGHT[chosen] @ WEIGHT.T
    assert np.abs(found - exact).mean() < 0.02 * np.abs(exact).mean()
