"""Linear layers that read the same become one: fewer and larger products take less time, above all of a single token.

Of a language model these are the layers of queries, keys and values, and those of a gate and what it lets through. It
knows OpenVINO's models and nothing of texts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from topwork.contracts import Array

__all__ = ["join_layers", "lies_by_columns", "weight_of"]


def join_layers(model: Any) -> int:
    """Join layers of an `openvino.Model` in place; return how many are left of those that were joined.

    A layer is a product of states with a constant matrix; one whose bias is added next stays as it is, for the engine
    adds that on the way.
    """
    readers: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for node in model.get_ordered_ops():
        if node.get_type_name() == "MatMul" and weight_of(node) is not None and not _has_bias(node):
            states = node.input_value(0)
            readers[states.get_node().get_friendly_name(), states.get_index()].append(node)
    groups = [several for several in readers.values() if len(several) > 1]
    for several in groups:
        _join(several)
    if groups:
        model.validate_nodes_and_infer_types()
    return len(groups)


def weight_of(node: Any) -> Any | None:
    """Return the constant that a product is taken with, which may be transposed on the way; None where it is none."""
    *_, last = _way_to_weight(node)
    return last if last.get_type_name() == "Constant" else None


def _way_to_weight(node: Any) -> Iterator[Any]:
    found = node.input_value(1).get_node()
    yield found
    while found.get_type_name() in ("Transpose", "Convert") and found.get_input_size():
        found = found.input_value(0).get_node()
        yield found


def _has_bias(node: Any) -> bool:
    users = [one.get_node() for one in node.output(0).get_target_inputs()]
    return any(
        user.get_type_name() == "Add"
        and any(user.input_value(i).get_node().get_type_name() == "Constant" for i in range(2))
        for user in users
    )


def _join(layers: Sequence[Any]) -> None:
    from openvino import opset13

    matrices = [_matrix(one) for one in layers]
    whole = opset13.constant(np.concatenate(matrices))
    product = opset13.matmul(layers[0].input_value(0), whole, transpose_a=False, transpose_b=True)
    sizes = opset13.constant([len(one) for one in matrices])
    parts = opset13.variadic_split(product, opset13.constant(-1), sizes)
    for place, layer in enumerate(layers):
        for user in list(layer.output(0).get_target_inputs()):
            user.replace_source_output(parts.output(place))


def _matrix(node: Any) -> Array:
    """Return a layer's weights as rows, one for each number that comes out, ``float32 [n_out, n_in]``."""
    weight = weight_of(node)
    assert weight is not None
    found = np.asarray(weight.get_data(), np.float32)
    return found.T if lies_by_columns(node) else found


def lies_by_columns(node: Any) -> bool:
    """Tell whether the weight of a product is ``[n_in, n_out]``, as GPT-2 has it, and not ``[n_out, n_in]``."""
    n_transposed = sum(one.get_type_name() == "Transpose" for one in _way_to_weight(node))
    return bool(node.get_attributes().get("transpose_b", False)) == bool(n_transposed % 2)
