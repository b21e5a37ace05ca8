from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest

from tiny_networks import N_FEATURES
from topwork.contracts import Exportable, Graph, LinearHead
from topwork.engines.choice import EngineChoice, EngineName, build
from topwork.engines.grafting import graft, scores_name, trim
from topwork.engines.graphs import assemble
from topwork.errors import UsageError


def head(k: int, d: int = N_FEATURES, seed: int = 0) -> LinearHead:
    rng = np.random.default_rng(seed)
    return LinearHead(rng.normal(size=(k, d)).astype(np.float32), rng.normal(size=k).astype(np.float32))


HEADS = {"label": head(3), "Größe (cm)/日本": head(1, seed=1)}


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_scores_are_the_features_times_the_head(
    exportable: Exportable, graph: Graph, engine: EngineName
) -> None:
    grown = graft(graph, HEADS)
    found = build(EngineChoice(engine, "fp32"), grown, n_threads=1, n_streams=1).run(exportable.example)
    assert tuple(found) == ("features", *(scores_name(target) for target in HEADS))
    for target, fitted in HEADS.items():
        expected = found["features"] @ fitted.weight.T + fitted.bias
        np.testing.assert_allclose(found[scores_name(target)], expected, rtol=1e-4, atol=1e-5)


LAYERED = LinearHead(head(2, 4).weight, head(2, 4).bias, (head(5, seed=2), head(4, 5, seed=3)))


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_hidden_layers_are_computed_as_the_head_says(
    exportable: Exportable, graph: Graph, engine: EngineName
) -> None:
    grown = graft(graph, {"deep": LAYERED, **HEADS})
    found = build(EngineChoice(engine, "fp32"), grown, n_threads=1, n_streams=1).run(exportable.example)
    assert tuple(found) == ("features", "scores.deep", *(scores_name(target) for target in HEADS))
    first, second = LAYERED.hidden
    between = np.maximum(found["features"] @ first.weight.T + first.bias, 0)
    between = np.maximum(between @ second.weight.T + second.bias, 0)
    expected = between @ LAYERED.weight.T + LAYERED.bias
    assert (between == 0).any()
    np.testing.assert_allclose(found["scores.deep"], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(LAYERED.scores(found["features"]), expected, rtol=1e-5, atol=1e-5)
    onnx.checker.check_model(onnx.ModelProto.FromString(assemble(grown)), full_check=True)


def test_the_weights_of_hidden_layers_have_names_of_their_own(graph: Graph) -> None:
    grown = graft(graph, {"deep": LAYERED})
    assert set(grown.weights) - set(graph.weights) == {
        f"heads.deep.{layer}{part}" for layer in ("hidden.0.", "hidden.1.", "") for part in ("weight", "bias")
    }


def test_layers_that_do_not_fit_each_other_are_refused(graph: Graph) -> None:
    wrong = replace(LAYERED, hidden=LAYERED.hidden[::-1])
    with pytest.raises(UsageError, match=r"The head of 'deep' has weight"):
        graft(graph, {"deep": wrong})


def test_the_heads_are_weights_like_the_others(graph: Graph) -> None:
    grown = graft(graph, HEADS)
    assert set(grown.weights) - set(graph.weights) == {
        f"heads.{target}.{part}" for target in HEADS for part in ("weight", "bias")
    }
    np.testing.assert_array_equal(grown.weights["heads.label.weight"], HEADS["label"].weight)
    onnx.checker.check_model(onnx.ModelProto.FromString(assemble(grown)), full_check=True)


def test_the_graph_that_was_grafted_on_stays_as_it_was(graph: Graph) -> None:
    topology, names = graph.topology, set(graph.weights)
    graft(graph, HEADS)
    assert (graph.topology, set(graph.weights), graph.output_names) == (topology, names, ("features",))


def test_heads_of_any_float_type_and_layout_are_taken(graph: Graph) -> None:
    odd = LinearHead(np.asfortranarray(head(3).weight.astype(np.float64)), head(3).bias.astype(np.float64))
    assert graft(graph, {"label": odd}).weights["heads.label.weight"].dtype == np.float32
    assert assemble(graft(graph, {"label": odd})) == assemble(graft(graph, {"label": head(3)}))


def test_a_second_grafting_is_refused(graph: Graph) -> None:
    with pytest.raises(UsageError, match=r"has heads already: scores\.label"):
        graft(graft(graph, {"label": head(3)}), {"other": head(2)})


def test_a_graph_without_features_is_refused(graph: Graph) -> None:
    with pytest.raises(UsageError, match="needs an output named 'features'"):
        graft(replace(graph, output_names=("logits",)), HEADS)


@pytest.mark.parametrize(
    "wrong",
    [
        head(3, d=N_FEATURES + 1),
        LinearHead(np.zeros((3, N_FEATURES), np.float32), np.zeros(2, np.float32)),
        LinearHead(np.zeros(N_FEATURES, np.float32), np.zeros(1, np.float32)),
        LinearHead(np.zeros((0, N_FEATURES), np.float32), np.zeros(0, np.float32)),
    ],
)
def test_a_head_that_does_not_fit_is_named(graph: Graph, wrong: LinearHead) -> None:
    with pytest.raises(UsageError, match=rf"head of 'label' .* expected \[k, {N_FEATURES}\]"):
        graft(graph, {"label": wrong})


def test_grafting_needs_no_torch() -> None:
    code = (
        "import sys, topwork.engines.grafting, topwork.engines.graphs, topwork.engines.openvino, onnx;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- heads that go ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_trimmed_graph_says_the_same_and_holds_nothing_of_the_other_heads(
    exportable: Exportable, graph: Graph, engine: EngineName
) -> None:
    whole = graft(graph, {"deep": LAYERED, **HEADS})
    trimmed = trim(whole, ["label"])
    assert trimmed.output_names == ("features", "scores.label")
    assert set(trimmed.weights) - set(graph.weights) == {"heads.label.weight", "heads.label.bias"}
    assert b"heads.deep" not in trimmed.topology
    one, other = (
        build(EngineChoice(engine, "fp32"), each, n_threads=1, n_streams=1).run(exportable.example)
        for each in (whole, trimmed)
    )
    assert set(other) == {"features", "scores.label"}
    np.testing.assert_allclose(other["scores.label"], one["scores.label"], rtol=1e-6)
    onnx.checker.check_model(onnx.ModelProto.FromString(assemble(trimmed)), full_check=True)


def test_trimming_to_every_head_changes_nothing(graph: Graph) -> None:
    whole = graft(graph, HEADS)
    again = trim(whole, list(HEADS))
    assert (again.output_names, set(again.weights)) == (whole.output_names, set(whole.weights))
    assert assemble(again) == assemble(whole)


def test_a_head_that_is_not_there_cannot_be_kept(graph: Graph) -> None:
    with pytest.raises(UsageError, match=r"it has no scores\.shape"):
        trim(graft(graph, HEADS), ["shape", "label"])
