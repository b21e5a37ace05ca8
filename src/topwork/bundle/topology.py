"""Checks of a network's graph that came out of a file.

It knows the ONNX format and no engine. A graph is data, but the format has doors: operators that load
somebody's library, and tensors that live in other files. Neither has a place in a bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from topwork.contracts import Array, Graph
from topwork.engines.decoder_export import DECODER_INPUTS
from topwork.engines.graphs import WEIGHTS_LOCATION as WEIGHTS
from topwork.engines.graphs import parse
from topwork.errors import BundleError

__all__ = ["INPUT", "TOPOLOGY", "WEIGHTS", "check_graph"]

TOPOLOGY = "graph.onnx"
INPUT = "input"
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})


def check_graph(graph: Graph) -> None:
    """Check that a graph uses standard operators only and takes no number from anywhere but its weights.

    Raises
    ------
    BundleError
        It does not; the message says what was found.
    """
    model = parse(graph.topology)
    nodes = tuple(_nodes(model.graph))
    _check_operators(model, nodes)
    _check_weights(model.graph.initializer, graph.weights)
    _check_constants(_constants(model.graph, nodes))
    _check_ends(model.graph, graph.output_names)


def _check_operators(model: Any, nodes: Iterable[Any]) -> None:
    domains = {item.domain for item in (*model.opset_import, *nodes)}
    if strange := sorted(domains - _DOMAINS):
        raise BundleError(f"{TOPOLOGY} uses operators beyond the ONNX standard: {', '.join(strange):.200}.")
    if model.functions:
        raise BundleError(f"{TOPOLOGY} brings functions of its own; only standard operators were expected.")


def _check_weights(initializers: Iterable[Any], weights: Mapping[str, Array]) -> None:
    for tensor in initializers:
        elsewhere = {item.value for item in tensor.external_data if item.key == "location"} - {WEIGHTS}
        if elsewhere:
            raise _outside(tensor, min(elsewhere))
        if tensor.data_location != tensor.EXTERNAL:
            continue
        found = weights.get(tensor.name)
        if found is None or found.shape != tuple(tensor.dims):
            has = "lacks it" if found is None else f"has {list(found.shape)}"
            raise BundleError(
                f"{TOPOLOGY} expects {tensor.name!r:.80} as {list(tensor.dims)}; {WEIGHTS} {has}."
            )


def _check_constants(tensors: Iterable[Any]) -> None:
    """Check tensors that no engine is given weights for; they must bring their numbers."""
    for tensor in tensors:
        if tensor.external_data or tensor.data_location == tensor.EXTERNAL:
            raise _outside(tensor, ", ".join(item.value for item in tensor.external_data))


def _outside(tensor: Any, where: str) -> BundleError:
    return BundleError(
        f"{TOPOLOGY} looks for the numbers of {tensor.name!r:.80} in another file: {where!r:.80}."
    )


def _check_ends(graph: Any, output_names: Sequence[str]) -> None:
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in stored]
    if inputs not in ([INPUT], list(DECODER_INPUTS)):
        raise BundleError(
            f"{TOPOLOGY} has the inputs {inputs!r:.100}; {INPUT!r} or {', '.join(DECODER_INPUTS)} were expected."
        )
    outputs = tuple(value.name for value in graph.output)
    if set(outputs) != set(output_names) or len(outputs) != len(output_names):
        raise BundleError(
            f"{TOPOLOGY} has the outputs {list(outputs)!r:.200}; {list(output_names)!r:.200} were expected."
        )


def _nodes(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph and of the graphs that stand in its nodes' attributes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _constants(graph: Any, nodes: Iterable[Any]) -> Iterator[Any]:
    """Yield the tensors of a graph other than its initialisers."""
    for item in graph.sparse_initializer:
        yield from (item.values, item.indices)
    for node in nodes:
        for attribute in node.attribute:
            yield from _constants_of(attribute)


def _constants_of(attribute: Any) -> Iterator[Any]:
    yield from (attribute.t, *attribute.tensors)
    for item in (attribute.sparse_tensor, *attribute.sparse_tensors):
        yield from (item.values, item.indices)
    for inner in (attribute.g, *attribute.graphs):
        yield from inner.initializer
        for item in inner.sparse_initializer:
            yield from (item.values, item.indices)
