"""Heads without a network below them: linear layers on the input as it comes, computed by NumPy in double precision.

For so little, a library that compiles networks takes longer to start than NumPy to answer. It knows the format of a
graph, and nothing of what the numbers are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from topwork.contracts import Array, Graph, Precision
from topwork.engines.graphs import parse
from topwork.errors import UsageError

__all__ = ["LinearEngine"]

_INPUT, _FEATURES = "input", "features"


@dataclass(frozen=True, slots=True)
class _Step:
    """One node: takes a value by its name, gives another."""

    below: str
    above: str
    compute: Callable[[Array], Array]


class LinearEngine:
    """Layers that NumPy computes; safe from any number of threads at once. `of` tells whether a graph is one of those.

    Parameters
    ----------
    steps
        In an order in which each finds what it takes.
    output_names
        Of the graph.
    n_streams
        Calls that are told to make progress at once.
    """

    name = "numpy"
    precision: Precision = "fp32"

    def __init__(self, steps: Sequence[_Step], output_names: tuple[str, ...], *, n_streams: int = 1) -> None:
        self._steps = tuple(steps)
        self.output_names = output_names
        self.n_streams = n_streams
        self.version = np.__version__

    @classmethod
    def of(cls, graph: Graph, *, n_streams: int = 1) -> LinearEngine | None:
        """Return an engine on the graph; None where it holds more than linear layers on its input.

        Raises
        ------
        BundleError
            The topology is no ONNX model.
        """
        nodes = parse(graph.topology).graph.node
        if not nodes or not _passes_on(nodes[0]):
            return None
        steps = [_step(node, graph.weights) for node in nodes]
        known = [step for step in steps if step is not None]
        return cls(known, graph.output_names, n_streams=n_streams) if len(known) == len(steps) else None

    def run(self, batch: Array) -> dict[str, Array]:
        """Run a batch ``[n, d]``.

        Raises
        ------
        UsageError
            The batch has another shape than the layers take.
        """
        values = {_INPUT: np.asarray(batch, np.float64)}
        try:
            for step in self._steps:
                values[step.above] = step.compute(values[step.below])
        except ValueError as error:
            raise UsageError(
                f"These layers cannot take a batch {list(batch.shape)}: {error}.",
                next_step="Give vectors of the length that the model was fitted on.",
            ) from error
        return {name: values[name].astype(np.float32) for name in self.output_names}


def _passes_on(node: Any) -> bool:
    return node.op_type == "Identity" and list(node.input) == [_INPUT] and list(node.output) == [_FEATURES]


def _step(node: Any, weights: Mapping[str, Array]) -> _Step | None:
    """Return what a node computes; None for one that is no plain layer."""
    compute = _computed(node, weights)
    return None if compute is None else _Step(node.input[0], node.output[0], compute)


def _computed(node: Any, weights: Mapping[str, Array]) -> Callable[[Array], Array] | None:
    if node.op_type == "Identity":
        return np.array
    if node.op_type == "Relu":
        return lambda values: np.maximum(values, 0.0)
    is_layer = node.op_type == "Gemm" and all(name in weights for name in node.input[1:])
    # `engines.grafting` writes this attribute alone; another one would mean another sum.
    if not is_layer or len(node.input) != 3 or [(a.name, a.i) for a in node.attribute] != [("transB", 1)]:
        return None
    weight, bias = (weights[name].astype(np.float64) for name in node.input[1:])
    return lambda values: np.asarray(values @ weight.T + bias)
