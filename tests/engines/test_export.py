from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_networks import SmallNetwork, TwoOutputs
from topwork.contracts import Array, Exportable, Graph
from topwork.engines.choice import build, reference
from topwork.engines.export import MAX_RELATIVE_DIFFERENCE, export, verify
from topwork.engines.graphs import parse
from topwork.errors import TopworkError, UsageError


class Skewed:
    """An engine whose answers are those of another, times ``factor``."""

    name, precision, version, n_streams = "skewed", "fp32", "1", 1

    def __init__(self, graph: Graph, factor: float) -> None:
        self._engine = build(reference(), graph, n_threads=1, n_streams=1)
        self._factor = factor

    def run(self, batch: Array) -> dict[str, Array]:
        return {name: output * np.float32(self._factor) for name, output in self._engine.run(batch).items()}


def test_every_weight_keeps_its_name_and_its_numbers(exportable: Exportable, graph: Graph) -> None:
    state = exportable.module.state_dict()
    state.pop("norm.num_batches_tracked")
    assert set(graph.weights) == set(state)
    for name, weight in graph.weights.items():
        np.testing.assert_array_equal(weight, state[name].numpy())


def test_weights_that_are_equal_by_chance_stay_apart(exportable: Exportable, graph: Graph) -> None:
    assert np.array_equal(graph.weights["norm.weight"], graph.weights["norm.running_var"])
    other = {**graph.weights, "norm.running_var": graph.weights["norm.running_var"] * 4}
    scaled = build(reference(), replace(graph, weights=other), n_threads=1, n_streams=1)
    module = copy.deepcopy(exportable.module)
    module.get_buffer("norm.running_var").mul_(4)
    verify(replace(exportable, module=module), graph, scaled)


def test_the_topology_holds_no_weights(exportable: Exportable, graph: Graph) -> None:
    assert (
        exportable.module.get_parameter("conv.weight").detach().numpy().tobytes()[:16] not in graph.topology
    )


def test_the_input_is_called_input_and_its_batch_is_open(graph: Graph) -> None:
    (entry,) = parse(graph.topology).graph.input
    assert entry.name == "input"
    dims = entry.type.tensor_type.shape.dim
    assert dims[0].dim_param
    assert [d.dim_value for d in dims[1:]] == [8, 10, 3]


def test_the_same_module_gives_the_same_topology(exportable: Exportable, graph: Graph) -> None:
    assert export(exportable).topology == graph.topology


def test_a_topology_says_nothing_of_the_machine_it_was_made_on(graph: Graph) -> None:
    for trace in (str(Path.home()), str(Path(torch.__file__).parent), ".py"):
        assert trace.encode() not in graph.topology


def test_exporting_leaves_the_module_and_the_warnings_as_they_were(exportable: Exportable) -> None:
    before = {name: tensor.clone() for name, tensor in exportable.module.state_dict().items()}
    filters = list(warnings.filters)
    export(exportable)
    assert list(warnings.filters) == filters
    assert not exportable.module.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in exportable.module.state_dict().items())


def test_several_outputs_have_their_names(exportable: Exportable) -> None:
    two = export(Exportable(TwoOutputs().eval(), exportable.example, ("features", "squares")))
    found = build(reference(), two, n_threads=1, n_streams=1).run(exportable.example)
    assert list(found) == ["features", "squares"]
    np.testing.assert_allclose(found["squares"], found["features"] ** 2, rtol=1e-5)


def test_a_module_in_training_mode_is_refused(exportable: Exportable) -> None:
    with pytest.raises(UsageError, match="training mode"):
        export(replace(exportable, module=SmallNetwork().train()))


def test_a_module_that_cannot_be_exported_says_so(exportable: Exportable) -> None:
    class Spectral(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            spectrum: torch.Tensor = torch.linalg.eigvals(
                pixels[..., :3, 0, None].float() @ torch.ones(1, 3)
            ).real
            return spectrum

    with pytest.raises(TopworkError, match="cannot be exported"):
        export(replace(exportable, module=Spectral().eval()))


@pytest.mark.parametrize("factor", [1 + 3 * MAX_RELATIVE_DIFFERENCE, -1.0, float("nan")])
def test_a_graph_that_gives_something_else_is_refused(
    exportable: Exportable, graph: Graph, factor: float
) -> None:
    with pytest.raises(TopworkError, match="not the same: features differs"):
        verify(exportable, graph, Skewed(graph, factor))  # type: ignore[arg-type]


def test_a_difference_of_rounding_is_allowed(exportable: Exportable, graph: Graph) -> None:
    verify(exportable, graph, Skewed(graph, 1 + 0.3 * MAX_RELATIVE_DIFFERENCE))  # type: ignore[arg-type]


def test_a_batch_that_was_frozen_into_the_graph_is_seen(exportable: Exportable) -> None:
    class Frozen(SmallNetwork):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            features = super().forward(pixels)
            # A Python number while tracing: the graph will add two rows' worth whatever the batch is.
            return features + float(len(pixels))

    with pytest.raises(TopworkError, match="not the same"):
        export(replace(exportable, module=Frozen().eval()))
