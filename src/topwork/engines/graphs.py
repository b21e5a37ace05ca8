"""Taking an ONNX model apart into topology and weights, and putting it together again.

In the topology, a weight is an initialiser whose data is said to lie in ``weights.safetensors``: its name,
type and shape are there, its numbers are not. It knows ONNX's format and nothing of torch or of engines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from topwork.contracts import Array, Graph
from topwork.errors import BundleError

__all__ = ["WEIGHTS_LOCATION", "assemble", "attach", "detach", "is_quantized", "parse", "split", "weight_of"]

WEIGHTS_LOCATION = "weights.safetensors"


def split(model: bytes, weight_names: frozenset[str], output_names: tuple[str, ...]) -> Graph:
    """Take the initialisers called ``weight_names`` out of a serialised ONNX model."""
    from onnx import numpy_helper

    proto = parse(model)
    _unshare(proto.graph, weight_names)
    weights: dict[str, Array] = {}
    for initializer in proto.graph.initializer:
        if initializer.name in weight_names:
            weights[initializer.name] = np.array(numpy_helper.to_array(initializer))
            detach(initializer)
    for node in proto.graph.node:
        node.ClearField("doc_string")  # where the exporter may leave paths of the machine it ran on
    return Graph(proto.SerializeToString(deterministic=True), weights, output_names)


def assemble(graph: Graph) -> bytes:
    """Return a complete ONNX model for an engine to read.

    Raises
    ------
    BundleError
        A weight is missing, or has another shape or type than the topology says.
    """
    proto = parse(graph.topology)
    for initializer in proto.graph.initializer:
        if initializer.data_location == initializer.EXTERNAL:
            attach(initializer, weight_of(initializer, graph.weights))
    content: bytes = proto.SerializeToString()
    return content


def parse(topology: bytes) -> Any:
    """Parse a serialised ONNX model.

    Raises
    ------
    BundleError
        It is no ONNX model.
    """
    import onnx

    try:
        return onnx.ModelProto.FromString(topology)
    except Exception as error:  # protobuf's own, from a module without types
        raise BundleError(
            "The network's graph is not an ONNX model.", next_step="Get the file again from where it comes."
        ) from error


def is_quantized(graph: Graph) -> bool:
    """Tell whether a graph says itself where its numbers are eight bits, by operators of ONNX that quantise.

    Raises
    ------
    BundleError
        The topology is no ONNX model.
    """
    return any(node.op_type == "DequantizeLinear" for node in parse(graph.topology).graph.node)


def detach(initializer: Any) -> None:
    """Remove the numbers of an initialiser; keep its name, type and shape."""
    for data in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        initializer.ClearField(data)
    initializer.data_location = initializer.EXTERNAL
    del initializer.external_data[:]
    initializer.external_data.add(key="location", value=WEIGHTS_LOCATION)


def _unshare(graph: Any, weight_names: frozenset[str]) -> None:
    """Give each weight an initialiser of its own.

    The exporter stores tensors of equal numbers once (a fresh scale and a fresh variance are both all ones),
    and makes the others an Identity of it. They are different weights nevertheless: somebody may put others in.
    """
    initializers = {initializer.name: initializer for initializer in graph.initializer}
    aliases = [
        node
        for node in graph.node
        if node.op_type == "Identity" and node.input[0] in initializers and node.output[0] in weight_names
    ]
    for node in aliases:
        own = graph.initializer.add()
        own.CopyFrom(initializers[node.input[0]])
        own.name = node.output[0]
        graph.node.remove(node)


def weight_of(initializer: Any, weights: Mapping[str, Array]) -> Array:
    """Return the numbers of an initialiser that has none, contiguous and little-endian as ONNX has them.

    Raises
    ------
    BundleError
        They are missing, or of another shape or type than the topology says.
    """
    from onnx import helper

    weight = weights.get(initializer.name)
    dtype = helper.tensor_dtype_to_np_dtype(initializer.data_type)
    shape = tuple(initializer.dims)
    if weight is None or weight.shape != shape or weight.dtype.newbyteorder("=") != dtype:
        found = "is missing" if weight is None else f"is {weight.dtype} {list(weight.shape)}"
        raise BundleError(
            f"The weight {initializer.name} {found}; the graph expects {dtype} {list(shape)}.",
            next_step="Get the file again from where it comes.",
        )
    return np.ascontiguousarray(weight.astype(dtype.newbyteorder("<"), copy=False))


def attach(initializer: Any, weight: Array) -> None:
    """Put the numbers that `weight_of` gave into an initialiser."""
    initializer.ClearField("data_location")
    del initializer.external_data[:]
    initializer.raw_data = weight.tobytes()
