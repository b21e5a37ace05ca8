"""Grafting heads on a graph: the layers of each target, on top of the features.

Pure ONNX, so that a server and a fit without torch can do it. It knows nothing of labels and of how a head
was found.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np

from topwork.contracts import Array, Graph, LinearHead
from topwork.engines.graphs import detach, parse
from topwork.errors import UsageError

__all__ = ["FEATURES", "graft", "scores_name", "trim"]

FEATURES = "features"
_SCORES = "scores."


def scores_name(target: str) -> str:
    """Return the name of the output that holds the scores of ``target``."""
    return f"{_SCORES}{target}"


def graft(graph: Graph, heads: Mapping[str, LinearHead]) -> Graph:
    """Add an output ``scores.<target>`` ``float32 [n, k]`` for each head; the features stay an output.

    The weights of a head become ``heads.<target>.weight`` and ``heads.<target>.bias``, those of hidden layers
    ``heads.<target>.hidden.<i>.weight`` and ``.bias``.

    Raises
    ------
    UsageError
        The graph has heads already, gives no features, or a head does not fit them.
    """
    _require_bare(graph)
    proto = parse(graph.topology)
    n_features = _n_features(proto)
    weights = dict(graph.weights)
    for target, head in heads.items():
        _require_fit(target, head, n_features)
        weights.update(_add_head(proto.graph, target, head))
    outputs = (*graph.output_names, *(scores_name(target) for target in heads))
    return Graph(proto.SerializeToString(deterministic=True), weights, outputs)


def trim(graph: Graph, targets: Collection[str]) -> Graph:
    """Return the graph with the heads of these targets alone; what only the others need is gone.

    Outputs that are no scores stay.

    Raises
    ------
    UsageError
        A target has no head.
    """
    kept = tuple(
        name
        for name in graph.output_names
        if not name.startswith(_SCORES) or name.removeprefix(_SCORES) in targets
    )
    if missing := sorted({scores_name(target) for target in targets} - set(kept)):
        raise UsageError(f"The graph gives {', '.join(graph.output_names)}; it has no {', '.join(missing)}.")
    proto = parse(graph.topology)
    needed = _needed(proto.graph, kept)
    kinds: tuple[tuple[Any, Callable[[Any], bool]], ...] = (
        (proto.graph.node, lambda node: bool(needed.intersection(node.output))),
        (proto.graph.initializer, lambda one: one.name in needed),
        (proto.graph.output, lambda one: one.name in kept),
        (proto.graph.value_info, lambda one: one.name in needed),
    )
    for field, keep in kinds:
        found = [one for one in field if keep(one)]
        del field[:]
        field.extend(found)
    weights = {name: one for name, one in graph.weights.items() if name in needed}
    return Graph(proto.SerializeToString(deterministic=True), weights, kept)


def _needed(graph: Any, outputs: Collection[str]) -> set[str]:
    """Return the names of all values that outputs depend on; nodes stand in the order in which they are computed."""
    needed = set(outputs)
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            # All outputs of a node are computed at once, and graphs in its attributes read values from out here.
            needed.update(node.output, node.input, *_read_within(node))
            needed.discard("")  # what is optional and left out has no name
    return needed


def _read_within(node: Any) -> Iterator[set[str]]:
    """Yield the names that graphs in a node's attributes read."""
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            for one in inner.node:
                yield set(one.input)
                yield from _read_within(one)
            yield {value.name for value in inner.output}


def _require_bare(graph: Graph) -> None:
    grown = [name for name in graph.output_names if name.startswith(_SCORES)]
    if grown:
        raise UsageError(
            f"The graph has heads already: {', '.join(grown)}.",
            next_step="Graft on the graph of the trunk, as it was exported.",
        )
    if FEATURES not in graph.output_names:
        raise UsageError(
            f"The graph gives {', '.join(graph.output_names)}; a head needs an output named {FEATURES!r}.",
            next_step="Export the trunk with output_names=('features',).",
        )


def _n_features(proto: Any) -> int:
    output = next(o for o in proto.graph.output if o.name == FEATURES)
    dims = output.type.tensor_type.shape.dim
    return int(dims[1].dim_value) if len(dims) == 2 else -1


def _require_fit(target: str, head: LinearHead, n_features: int) -> None:
    n_inputs = n_features
    for layer in (*head.hidden, head):
        k, d = layer.weight.shape if layer.weight.ndim == 2 else (-1, -1)
        # A dimension that the exporter left open is 0 here; the engine checks it when it compiles.
        if k < 1 or layer.bias.shape != (k,) or n_inputs < 0 or (n_inputs and d != n_inputs):
            raise UsageError(
                f"The head of {target!r} has weight {list(layer.weight.shape)} and bias {list(layer.bias.shape)};"
                f" expected [k, {n_inputs}] and [k].",
                next_step="Fit the head on the features of this trunk.",
            )
        n_inputs = k


def _add_head(graph: Any, target: str, head: LinearHead) -> dict[str, Array]:
    from onnx import TensorProto, helper

    weights: dict[str, Array] = {}
    below = FEATURES
    for i, layer in enumerate(head.hidden):
        name = f"heads.{target}.hidden.{i}"
        weights |= _add_layer(graph, name, layer, (below, f"{name}.sums"))
        below = f"{name}.outputs"
        graph.node.append(helper.make_node("Relu", [f"{name}.sums"], [below], name=f"{name}.relu"))
    output = scores_name(target)
    weights |= _add_layer(graph, f"heads.{target}", head, (below, output))
    graph.output.append(
        helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", head.weight.shape[0]])
    )
    return weights


def _add_layer(graph: Any, name: str, layer: LinearHead, ends: tuple[str, str]) -> dict[str, Array]:
    """Add one linear layer from one value to another; return its weights."""
    from onnx import helper, numpy_helper

    weights: dict[str, Array] = {
        f"{name}.weight": np.ascontiguousarray(layer.weight, dtype=np.float32),
        f"{name}.bias": np.ascontiguousarray(layer.bias, dtype=np.float32),
    }
    for key, weight in weights.items():
        initializer = numpy_helper.from_array(weight, key)
        detach(initializer)
        graph.initializer.append(initializer)
    graph.node.append(helper.make_node("Gemm", [ends[0], *weights], [ends[1]], name=name, transB=1))
    return weights
