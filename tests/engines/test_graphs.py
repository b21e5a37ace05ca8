from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from topwork.contracts import Exportable, Graph
from topwork.engines.choice import build, reference
from topwork.engines.graphs import WEIGHTS_LOCATION, assemble, parse, split
from topwork.errors import BundleError


def test_what_was_taken_apart_goes_together_again(graph: Graph) -> None:
    whole = assemble(graph)
    onnx.checker.check_model(onnx.ModelProto.FromString(whole))
    again = split(whole, frozenset(graph.weights), graph.output_names)
    assert again.topology == graph.topology
    assert again.weights.keys() == graph.weights.keys()
    for name, weight in graph.weights.items():
        np.testing.assert_array_equal(again.weights[name], weight)


def test_a_weight_in_the_topology_is_a_reference_to_the_file_of_weights(graph: Graph) -> None:
    entries = {i.name: i for i in parse(graph.topology).graph.initializer if i.name in graph.weights}
    assert entries.keys() == graph.weights.keys()
    for entry in entries.values():
        assert not entry.raw_data
        assert {d.key: d.value for d in entry.external_data} == {"location": WEIGHTS_LOCATION}


def test_constants_stay_in_the_topology(exportable: Exportable) -> None:
    nothing_taken = split(assemble(_graph_of(exportable)), frozenset(), ("features",))
    assert nothing_taken.weights == {}
    assert assemble(nothing_taken)


def _graph_of(exportable: Exportable) -> Graph:
    from topwork.engines.export import export

    return export(exportable)


def test_other_weights_give_another_network(exportable: Exportable, graph: Graph) -> None:
    other = replace(graph, weights={**graph.weights, "norm.bias": graph.weights["norm.bias"] + 10})
    first, second = (build(reference(), g, n_threads=1, n_streams=1) for g in (graph, other))
    moved = second.run(exportable.example)["features"] - first.run(exportable.example)["features"]
    assert moved.min() > 5


def test_weights_that_are_not_contiguous_or_little_endian_are_understood(
    exportable: Exportable, graph: Graph
) -> None:
    odd = {n: np.asfortranarray(w).astype(w.dtype.newbyteorder(">")) for n, w in graph.weights.items()}
    assert assemble(replace(graph, weights=odd)) == assemble(graph)


@pytest.mark.parametrize(
    ("weight", "complaint"),
    [
        (None, "is missing"),
        (
            np.zeros((5, 3, 3), np.float32),
            r"is float32 \[5, 3, 3\]; the graph expects float32 \[5, 3, 3, 3\]",
        ),
        (np.zeros((5, 3, 3, 3), np.float64), "is float64"),
    ],
)
def test_a_weight_that_does_not_fit_is_named(
    graph: Graph, weight: np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None, complaint: str
) -> None:
    weights = {name: w for name, w in graph.weights.items() if name != "conv.weight"}
    if weight is not None:
        weights["conv.weight"] = weight
    with pytest.raises(BundleError, match=rf"conv\.weight {complaint}"):
        assemble(replace(graph, weights=weights))


@pytest.mark.parametrize("topology", [b"\xff\xff\xff", b"not a graph at all"])
def test_what_is_no_onnx_model_is_refused(graph: Graph, topology: bytes) -> None:
    with pytest.raises(BundleError, match="not an ONNX model"):
        assemble(replace(graph, topology=topology))
