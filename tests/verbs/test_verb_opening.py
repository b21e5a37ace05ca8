"""From settings to what is served: names, engines, own code, chains, and what cannot be opened."""

from __future__ import annotations

import gc
import shutil
import weakref
from pathlib import Path

import pytest

import topwork as tw
from pictures import file_of, photo
from topwork import Model, Surroundings, UsageError
from topwork.bundle.model import BundleModel
from topwork.inputs import IMAGE
from topwork.serving.limits import Limits
from topwork.serving.settings.declared import LinkSettings, ModelSettings
from topwork.serving.wrapping.chains import Chain
from topwork.serving.wrapping.hooks import Hooked
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


def copy_of(bundle: Path, folder: Path) -> Path:
    path = folder / "colours.topwork"
    shutil.copy(bundle, folder / "new")
    (folder / "new").replace(path)
    return path


def test_what_is_in_a_chain_and_alone_has_one_network(
    opener: ModelOpener, fitted: Model, tiny_trunk: Path, tmp_path: Path
) -> None:
    path = copy_of(fitted.path, tmp_path)
    links = (LinkSettings(path, name="first"), LinkSettings(trunk=tiny_trunk))
    chain = opener(ModelSettings(name="both", chain=links), Limits()).servable
    alone = opener(ModelSettings(path), Limits()).servable
    trunk = opener(ModelSettings(trunk=tiny_trunk, name="mine"), Limits()).servable
    assert isinstance(chain, Chain)
    first, second = (link.servable._servable for link in chain._links)  # type: ignore[attr-defined]
    assert isinstance(first, BundleModel)
    assert isinstance(alone, BundleModel)
    assert isinstance(second, Embedder)
    assert isinstance(trunk, Embedder)
    assert (first.engine is alone.engine, second.network is trunk.network) == (True, True)
    assert [one.name for one in (first, alone, second, trunk)] == ["first", "colours", "tiny", "mine"]
    assert alone.about["name"] == first.about["name"]
    [content] = IMAGE.synthetic(1, 1)
    assert list(alone.submit([content])) == list(first.submit([content]))


def test_what_differs_has_a_network_of_its_own(opener: ModelOpener, fitted: Model, tmp_path: Path) -> None:
    path = copy_of(fitted.path, tmp_path)

    def engine(settings: ModelSettings) -> object:
        servable = opener(settings, Limits()).servable
        kept.append(servable)
        assert isinstance(servable, BundleModel)
        return servable.engine

    kept: list[object] = []
    plain = engine(ModelSettings(path))
    assert engine(ModelSettings(path, name="other")) is plain
    assert engine(ModelSettings(path, engine="onnxruntime")) is not plain
    copy_of(fitted.path, tmp_path)
    assert engine(ModelSettings(path)) is not plain, "another file of the same name"


def test_a_network_that_nobody_serves_is_forgotten(opener: ModelOpener, fitted: Model) -> None:
    hosted = [opener(ModelSettings(fitted.path, name=name), Limits()) for name in ("a", "b")]
    first = weakref.ref(hosted[0].servable)
    del hosted[0]
    gc.collect()
    again = opener(ModelSettings(fitted.path), Limits()).servable
    assert again.engine is hosted[0].servable.engine  # type: ignore[attr-defined]
    hosted.clear()
    del again
    gc.collect()
    assert first() is None


def test_decoding_is_held_to_the_limits_of_the_server(opener: ModelOpener, fitted: Model) -> None:
    servable = opener(ModelSettings(fitted.path), Limits()).servable
    content = file_of(photo(1, (300, 200)))
    [before] = servable.submit([content])
    opener.take(Limits(max_decoded_bytes=4 * 300 * 200 - 1))
    [refused] = servable.submit([content])
    opener.take(Limits(max_decoded_bytes=4 * 300 * 200))
    [after] = servable.submit([content])
    assert refused.problem is not None
    assert "would take 240,000 bytes of memory; at most 239,999" in refused.problem
    assert before.value == after.value


def test_serve_takes_the_settings_of_a_model(around: Surroundings) -> None:
    with pytest.raises(UsageError, match="takes its length from the data"):
        tw.serve(ModelSettings(trunk="identity"), around=around)
    with pytest.raises(UsageError, match="has bundle and trunk"):
        ModelSettings(Path("a"), trunk="b")


def test_a_device_is_for_language_models_alone(fitted: Model, tmp_path: Path, around: Surroundings) -> None:
    for chosen in (
        ModelSettings(fitted.path, device="cuda"),
        ModelSettings(trunk="identity/3", device="cuda"),
    ):
        with pytest.raises(UsageError, match=r"The device cuda is for language models, and .* is none"):
            ModelOpener(around, tmp_path)(chosen, Limits())
