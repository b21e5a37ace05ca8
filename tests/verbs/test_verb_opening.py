"""From settings to what is served: names, engines, own code, chains, and what cannot be opened."""

from __future__ import annotations

from pathlib import Path

import pytest

import topwork as tw
from topwork import Model, Surroundings, UsageError
from topwork.bundle.model import BundleModel
from topwork.inputs import IMAGE
from topwork.serving.chains import Chain
from topwork.serving.hooks import Hooked
from topwork.serving.limits import Limits
from topwork.serving.settings import LinkSettings, ModelSettings
from topwork.steps.embedding import Embedder
from topwork.verbs.opening import ModelOpener


@pytest.fixture
def opener(around: Surroundings, tmp_path: Path) -> ModelOpener:
    return ModelOpener(around, tmp_path)


def test_a_bundle_is_opened_as_it_is(opener: ModelOpener, fitted: Model) -> None:
    hosted = opener(ModelSettings(fitted.path, name="mine", engine="onnxruntime"), Limits())
    assert isinstance(hosted.servable, BundleModel)
    assert (hosted.servable.name, hosted.servable.engine.name) == ("mine", "onnxruntime")


def test_a_trunk_is_opened_with_its_engine_and_name(opener: ModelOpener, tiny_trunk: Path) -> None:
    hosted = opener(
        ModelSettings(trunk=tiny_trunk, normalize=True, name="mine", engine="onnxruntime"), Limits()
    )
    assert isinstance(hosted.servable, Embedder)
    assert (hosted.servable.name, hosted.servable.network.engine.name) == ("mine", "onnxruntime")
    assert hosted.servable.about["normalized"] is True


def test_a_chain_is_opened_with_the_code_around_its_models_and_itself(
    opener: ModelOpener, fitted: Model, tiny_trunk: Path, tmp_path: Path
) -> None:
    (tmp_path / "own_opening.py").write_text(
        "class inner:\n"
        "    def after(answer): return {'first': answer['embedding'][0]}\n"
        "class outer:\n"
        "    def after(answer): return {'names': list(answer)}\n",
        encoding="utf-8",
    )
    links = (
        LinkSettings(fitted.path, name="colour"),
        LinkSettings(trunk=tiny_trunk, app="own_opening:inner"),
    )
    settings = ModelSettings(name="both", chain=links)
    plain = opener(settings, Limits()).servable
    assert isinstance(plain, Chain)
    [content] = IMAGE.synthetic(1, 1)
    [answer] = plain.submit([content])
    assert answer.value is not None
    assert list(answer.value) == ["colour", "tiny"]
    assert list(answer.value["tiny"]) == ["first"]  # type: ignore[arg-type]
    around_it = opener(ModelSettings(name="both", chain=links, app="own_opening:outer"), Limits()).servable
    assert isinstance(around_it, Hooked)
    [answer] = around_it.submit([content])
    assert answer.value == {"names": ["colour", "tiny"]}


def test_serve_takes_the_settings_of_a_model(around: Surroundings) -> None:
    with pytest.raises(UsageError, match="takes its length from the data"):
        tw.serve(ModelSettings(trunk="identity"), around=around)
    with pytest.raises(UsageError, match="has bundle and trunk"):
        ModelSettings(Path("a"), trunk="b")
