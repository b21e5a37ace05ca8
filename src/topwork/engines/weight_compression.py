"""Weights of a language model in eight bits: each row of a matrix has a scale, activations stay what they are.

A token takes as long as its weights take to be read, so that a quarter of the bytes is most of the gain that eight bits
can give; what the network says hardly changes. It knows OpenVINO's models and nothing of texts.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from topwork.contracts import Array

__all__ = ["compress_weights"]

_LEAST: Final = 1 << 14
"""Numbers of a matrix; smaller ones take no time."""
_READERS: Final = frozenset({"MatMul", "Transpose", "Gather"})
_LEVELS: Final = 127


def compress_weights(model: Any) -> int:
    """Put matrices of an `openvino.Model` into eight bits, in place; return how many.

    Each is a constant of rows that are multiplied with states, or looked up; the largest number of a row becomes 127.
    """
    n = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant" and _is_matrix(node):
            _replace(node)
            n += 1
    return n


def _is_matrix(node: Any) -> bool:
    shape = list(node.get_output_shape(0))
    users = [one.get_node().get_type_name() for one in node.output(0).get_target_inputs()]
    is_read = bool(users) and set(users) <= _READERS
    return is_read and len(shape) == 2 and shape[0] * shape[1] >= _LEAST and node.get_element_type().is_real()


def _replace(node: Any) -> None:
    from openvino import opset13

    weight = np.asarray(node.get_data(), np.float32)
    # The axis that is summed over has one scale: of a matrix that is multiplied as it lies this is the first one.
    axis = 0 if _multiplies_as_it_lies(node) else 1
    levels, scale = _rounded(weight, axis)
    users = list(node.output(0).get_target_inputs())
    unpacked = opset13.multiply(
        opset13.convert(opset13.constant(levels), np.float32), opset13.constant(scale)
    )
    unpacked.set_friendly_name(f"{node.get_friendly_name()}.unpacked")
    for user in users:
        user.replace_source_output(unpacked.output(0))


def _multiplies_as_it_lies(node: Any) -> bool:
    for one in node.output(0).get_target_inputs():
        user = one.get_node()
        if user.get_type_name() == "MatMul":
            return not bool(user.get_attributes().get("transpose_b", False))
    return False


def _rounded(weight: Array, axis: int) -> tuple[Array, Array]:
    """Return ``int8`` levels and the scale of each row, ``float32``; their product is near the weight."""
    scale = np.abs(weight).max(axis=axis, keepdims=True) / _LEVELS
    scale = np.where(scale > 0, scale, 1.0).astype(np.float32)
    return np.clip(np.rint(weight / scale), -_LEVELS, _LEVELS).astype(np.int8), scale
