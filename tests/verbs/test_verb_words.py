"""Words beside the network, the whole way: a bundle whose graph holds them answers, goes on, and runs in torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import topwork
from tiny_text_trunk import N_FEATURES
from topwork import FitOptions, Model, Surroundings, load
from topwork.contracts import WORD_WEIGHTS, TextTrunk
from topwork.engines.choice import EngineChoice, build
from topwork.engines.headed import Headed
from topwork.steps.onward import trunk_of
from toy_texts import toy_texts

pytestmark = pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")


@pytest.fixture(scope="module")
def model(trunk: str, around: Surroundings, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """One step, which teaches the network next to nothing, while the words decide."""
    out = tmp_path_factory.mktemp("words") / "post.topwork"
    options = FitOptions(steps=1, proof="quick")
    return topwork.fit(toy_texts(300), out, trunk=trunk, budget=None, options=options, around=around)


def test_words_are_the_model_where_they_decide(model: Model) -> None:
    assert next(rung.name for rung in model.record.rungs if rung.chosen).endswith("words")
    assert model.record.targets["label"].test["accuracy"].value > 0.9
    assert "frozen network" in {one.name for one in model.record.targets["label"].comparisons}
    graph = model.servable.bundle.graph()
    assert graph.weights[WORD_WEIGHTS].shape[1] == 1
    assert graph.weights["heads.label.weight"].shape == (2, N_FEATURES + 1)


def test_it_answers_as_it_was_fitted_in_another_process_too(model: Model, tmp_path: Path) -> None:
    again = load(model.save(tmp_path / "copy.topwork"))
    texts, labels = toy_texts(40, seed=9)
    said = again.predict(texts)
    assert np.mean([one.label == label for one, label in zip(said, labels, strict=True)]) > 0.9
    assert sum(one.in_domain is False for one in said) <= 8


def test_torch_says_the_same(model: Model, trunk: str, around: Surroundings) -> None:
    import torch

    bundle = model.servable.bundle
    graph = bundle.graph()
    own = trunk_of(bundle.path, trunk)
    assert isinstance(own, TextTrunk)
    wide = own.with_word_scores(1)
    network = Headed(
        wide.load(wide.fetch(around.cache_dir, around.progress)), graph.weights, graph.output_names
    )
    batch = np.stack([golden.tensor for golden in bundle.goldens()[:1]])
    engine = build(EngineChoice("onnxruntime", "fp32"), graph, n_threads=1, n_streams=1)
    with torch.no_grad():
        told = dict(zip(graph.output_names, network(torch.from_numpy(batch)), strict=True))
    for name, values in engine.run(batch).items():
        assert np.allclose(values, told[name].numpy(), atol=1e-3), name


def test_a_fit_goes_on_from_it(model: Model, trunk: str, around: Surroundings) -> None:
    options = FitOptions(steps=1, proof="none", onward=model.path)
    again = topwork.fit(toy_texts(300, seed=3), trunk=trunk, budget=None, options=options, around=around)
    assert again.record.targets["label"].test["accuracy"].value > 0.9


@pytest.mark.parametrize(
    ("n", "named"), [(150, {"rung contrast"}), (300, {"rung words"}), (100, {"rung contrast"})]
)
def test_an_estimate_counts_words_and_pairs_where_a_fit_has_them(
    n: int, named: set[str], trunk: str, around: Surroundings
) -> None:
    found = topwork.estimate(toy_texts(n), trunk=trunk, budget="1h", around=around)
    seconds = {one.name: one for one in found.forecasts if one.unit == "seconds"}
    assert seconds.keys() & {"rung contrast", "rung words"} == named
    assert all(0 < seconds[name].low < seconds[name].high < seconds["ladder"].high for name in named)
    steps = FitOptions(steps=1)
    told = topwork.estimate(toy_texts(n), trunk=trunk, budget=None, options=steps, around=around).forecasts
    assert "rung contrast" not in {one.name for one in told}
