"""Adapters of one language model that are served together: one base in memory, each with its own texts."""

from __future__ import annotations

import gc
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tiny_writers import GPT2, write_tiny_writer
from topwork import FitOptions, Surroundings, UsageError, fit_writer, writer
from topwork.contracts import Answer, Sampling
from topwork.engines.machine import survey
from topwork.inputs.orders import Order
from topwork.progress import Quiet
from topwork.serving.limits import Limits
from topwork.serving.settings.declared import ModelSettings
from topwork.steps.embedding import Embedder
from topwork.steps.served_writing import ServedWriter
from topwork.verbs.opening import ModelOpener

LINES = {"cats": "the cat sat on the mat and slept. ", "trips": "then they went to the end of it. "}
ALONE = FitOptions(
    recipe_settings={"length": 64, "epochs": 4, "batch": 4, "rate": 1e-2}, proof="none", adapter_only=True
)


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Surroundings:
    return Surroundings(cache_dir=tmp_path_factory.mktemp("cache"), progress=Quiet(), n_cores=1)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, around: Surroundings) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    trunk = write_tiny_writer(folder / "tiny")
    found = {}
    for name, line in LINES.items():
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps({"text": line * 3}) for _ in range(30)))
        out = folder / f"{name}.topwork"
        fit_writer(folder / f"{name}.jsonl", out, trunk=str(trunk), options=ALONE, around=around)
        found[name] = out
    return found


def opened(opener: ModelOpener, path: Path) -> ServedWriter:
    """Open a bundle, or the language model in a folder."""
    chosen = ModelSettings(trunk=path) if path.is_dir() else ModelSettings(path)
    servable = opener(chosen, Limits()).servable
    assert isinstance(servable, ServedWriter)
    return servable


def text(servable: ServedWriter) -> str:
    order = Order("the", n_most=30, sampling=Sampling(temperature=0))
    (answer,) = servable.submit([order.encoded()])
    assert isinstance(answer, Answer)
    assert answer.value is not None
    return str(answer.value["text"])


def test_they_share_one_base_and_each_writes_its_own(
    bundles: dict[str, Path], around: Surroundings, tmp_path: Path
) -> None:
    expected = {name: text(opened(ModelOpener(around, tmp_path), path)) for name, path in bundles.items()}
    assert expected["cats"] != expected["trips"]
    opener = ModelOpener(around, tmp_path)
    served = {name: opened(opener, path) for name, path in bundles.items()}
    assert served["cats"].scribe is served["trips"].scribe
    for one in served.values():
        one.prove()
    with ThreadPoolExecutor(6) as pool:
        asked = [*served] * 3
        assert list(pool.map(lambda name: text(served[name]), asked)) == [expected[name] for name in asked]


def test_one_that_is_closed_gives_its_room_back(
    bundles: dict[str, Path], around: Surroundings, tmp_path: Path
) -> None:
    opener = ModelOpener(around, tmp_path)
    cats, trips = (opened(opener, path) for path in bundles.values())
    bank = trips.engine.bank
    assert bank is not None
    before = text(trips)
    assert len(bank) == 2
    del cats
    gc.collect()
    assert text(trips) == before
    assert len(bank) == 1


def test_a_bundle_that_holds_all_its_weights_has_an_engine_of_its_own(
    bundles: dict[str, Path], around: Surroundings, tmp_path: Path
) -> None:
    folder = bundles["cats"].parent
    whole = folder / "whole.topwork"
    trunk = str(folder / "tiny")
    options = replace(ALONE, adapter_only=False)
    fit_writer(folder / "cats.jsonl", whole, trunk=trunk, options=options, around=around)
    opener = ModelOpener(around, tmp_path)
    alone, other = opened(opener, whole), opened(opener, bundles["trips"])
    assert alone.scribe is not other.scribe
    assert alone.engine.bank is None


@pytest.mark.parametrize("comes_last", [True, False])
def test_their_base_is_served_after_them_by_the_same_engine(
    bundles: dict[str, Path], around: Surroundings, tmp_path: Path, *, comes_last: bool
) -> None:
    folder = bundles["cats"].parent / "tiny"
    paths = [bundles["cats"], folder]
    opener = ModelOpener(around, tmp_path)
    found = {path: opened(opener, path) for path in (paths if comes_last else reversed(paths))}
    cats, base = (found[path] for path in paths)
    assert (base.scribe is cats.scribe) == comes_last
    assert (base.engine.bank is None) != comes_last, "room for adapters costs time, and nobody may come"
    for path, one in ((folder, base), (bundles["cats"], cats)):
        alone = writer(path, around=around).generate("the", length=30, temperature=0, include_prefix=False)
        assert text(one) == alone
    assert text(base) != text(cats)


def test_a_folder_that_names_no_class_that_writes_is_taken_for_an_encoder(
    bundles: dict[str, Path], around: Surroundings, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bundles["cats"].parent / "tiny", tmp_path / "bare"))
    config = json.loads((folder / "config.json").read_text())
    del config["architectures"]
    (folder / "config.json").write_text(json.dumps(config))
    assert isinstance(ModelOpener(around, tmp_path)(ModelSettings(trunk=folder), Limits()).servable, Embedder)


@pytest.mark.skipif(survey().has_cuda, reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_told_of(
    bundles: dict[str, Path], around: Surroundings, tmp_path: Path
) -> None:
    tiny = bundles["cats"].parent / "tiny"
    for chosen in (ModelSettings(bundles["cats"], device="cuda"), ModelSettings(trunk=tiny, device="cuda")):
        with pytest.raises(UsageError, match="The device cuda was asked for, and torch sees no GPU here"):
            ModelOpener(around, tmp_path)(chosen, Limits())


@pytest.mark.gpu
def test_on_a_gpu_each_adapter_is_merged_and_writes_its_own(
    bundles: dict[str, Path], around: Surroundings, tmp_path: Path
) -> None:
    expected = {name: text(opened(ModelOpener(around, tmp_path), path)) for name, path in bundles.items()}
    opener = ModelOpener(around, tmp_path)
    there = {
        name: opener(ModelSettings(path, device="cuda"), Limits()).servable for name, path in bundles.items()
    }
    scribes = {name: one.scribe for name, one in there.items() if isinstance(one, ServedWriter)}
    assert scribes["cats"] is not scribes["trips"]
    for name, one in there.items():
        assert isinstance(one, ServedWriter)
        one.prove()
        assert text(one)[:20] == expected[name][:20]


def test_adapters_of_gpt2_share_their_base_as_well(around: Surroundings, tmp_path: Path) -> None:
    """Its layers hold their weights the other way round."""
    trunk = write_tiny_writer(tmp_path / "tiny", GPT2)
    for name, line in LINES.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps({"text": line * 3}) for _ in range(30)))
        fit_writer(
            tmp_path / f"{name}.jsonl",
            tmp_path / f"{name}.topwork",
            trunk=str(trunk),
            options=ALONE,
            around=around,
        )
    paths = [tmp_path / f"{name}.topwork" for name in LINES]
    expected = [text(opened(ModelOpener(around, tmp_path), path)) for path in paths]
    opener = ModelOpener(around, tmp_path)
    served = [opened(opener, path) for path in paths]
    assert served[0].scribe is served[1].scribe
    for one in served:
        one.prove()
    assert [text(one) for one in served] == expected
    assert expected[0] != expected[1]
