"""The last feature map of a network as an output beside the features, for showing what drove an answer.

Where the features are the mean of a map over its places, a linear head may as well be applied to each place: the
mean of what it says there is its score. Pure ONNX, as grafting is. It knows nothing of heads and of pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from topwork.contracts import Graph
from topwork.engines.grafting import FEATURES
from topwork.engines.graphs import parse

__all__ = ["MAP", "expose_feature_map"]

MAP = "map"
"""Name of the output that holds the feature map."""

_RESHAPING = frozenset({"Flatten", "Identity", "Reshape", "Squeeze"})
"""What may stand between the mean and the features: the numbers and their order stay the same."""

_RANK = 4
_CHANNELS_FIRST = (2, 3)
_CHANNELS_LAST = (1, 2)


def expose_feature_map(graph: Graph) -> Graph | None:
    """Add an output ``map`` ``float32 [n, c, h, w]`` whose mean over ``h`` and ``w`` is ``features [n, c]``.

    Class activation maps rest on it (Zhou et al., *Learning Deep Features for Discriminative Localization*, 2016).

    Returns
    -------
    The graph with the output added as the last one, all others unchanged. None where the features are not the
    plain mean of a map: a network that pools otherwise, that goes on after pooling, or that has no map at all.
    """
    if MAP in graph.output_names:
        return graph
    proto = parse(graph.topology)
    makers = {output: node for node in proto.graph.node for output in node.output}
    mean = _mean_before_features(makers) if FEATURES in graph.output_names else None
    places = _averaged(mean, proto.graph, makers)
    if mean is None or places not in (_CHANNELS_FIRST, _CHANNELS_LAST):
        return None
    _add_output(proto.graph, mean.input[0], to_channels_first=places == _CHANNELS_LAST)
    topology = proto.SerializeToString(deterministic=True)
    return Graph(topology, graph.weights, (*graph.output_names, MAP))


def _mean_before_features(makers: Mapping[str, Any]) -> Any:
    """Return the node that the features come from, what only reshapes left aside; None for an input or a weight."""
    node = makers.get(FEATURES)
    while node is not None and node.op_type in _RESHAPING:
        node = makers.get(node.input[0])
    return node


def _averaged(node: Any, graph: Any, makers: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the axes that a node takes the plain mean over, ascending; empty for any other node."""
    if node is None or node.op_type not in ("GlobalAveragePool", "ReduceMean"):
        return ()
    if node.op_type == "GlobalAveragePool":
        return _CHANNELS_FIRST
    return tuple(sorted(axis % _RANK for axis in _axes(node, graph, makers)))


def _axes(node: Any, graph: Any, makers: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the axes of a ReduceMean: an attribute up to version 17 of the operators, an input since."""
    from onnx import numpy_helper

    for attribute in node.attribute:
        if attribute.name == "axes":
            return tuple(attribute.ints)
    name = node.input[1] if len(node.input) > 1 else ""
    tensors = {one.name: one for one in graph.initializer if one.data_location != one.EXTERNAL}
    tensor = tensors.get(name) or _constant(makers.get(name))
    return () if tensor is None else tuple(int(axis) for axis in numpy_helper.to_array(tensor))


def _constant(node: Any) -> Any:
    if node is None or node.op_type != "Constant":
        return None
    return next((one.t for one in node.attribute if one.name == "value"), None)


def _add_output(graph: Any, source: str, *, to_channels_first: bool) -> None:
    from onnx import TensorProto, helper

    if to_channels_first:
        node = helper.make_node("Transpose", [source], [MAP], name=MAP, perm=[0, 3, 1, 2])
    else:
        node = helper.make_node("Identity", [source], [MAP], name=MAP)
    graph.node.append(node)
    shape = ["batch", "channels", "height", "width"]
    graph.output.append(helper.make_tensor_value_info(MAP, TensorProto.FLOAT, shape))
