"""The model over a bundle: right answers in order, whatever comes in, in bounded memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiny_bundle import (
    LABELS,
    NumpyEngine,
    TinyModality,
    disturbed,
    restore_tiny,
    tiny_contents,
    tiny_graph,
)
from topwork.bundle import BundleModel, open_bundle, open_model, save
from topwork.bundle.model import CHUNK
from topwork.contracts import Array, Json, Servable, Target
from topwork.engines import EngineChoice, build
from topwork.errors import BundleError, DecodeError, ProofError, UsageError


@dataclass(slots=True)
class Watched(NumpyEngine):
    """Remembers the size of each batch and how many ran at once."""

    sizes: list[int] = field(default_factory=list)

    def run(self, batch: Array) -> Mapping[str, Array]:
        self.sizes.append(len(batch))
        return NumpyEngine.run(self, batch)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "oaks.topwork"
    save(path, tiny_contents())
    return path


@pytest.fixture
def engine(path: Path) -> Watched:
    return Watched(open_bundle(path, restore_tiny).graph().weights)


@pytest.fixture
def model(path: Path, engine: Watched) -> BundleModel:
    return BundleModel(open_bundle(path, restore_tiny), TinyModality(), engine)


def photos(n: int, seed: int = 3) -> tuple[bytes, ...]:
    return TinyModality().synthetic(n, seed)


def expected(engine: NumpyEngine, encoded: bytes) -> str:
    scores = NumpyEngine(engine.weights).run(np.frombuffer(encoded, np.uint8)[None])["scores.label"]
    return LABELS[int(scores.argmax())]


# --- as a servable ----------------------------------------------------------------------------------------


def test_it_is_a_servable_named_after_its_file(model: BundleModel) -> None:
    assert isinstance(model, Servable)
    assert model.name == "oaks"
    assert model.wire == TinyModality().wire
    assert model.answer_schema == {"type": "object", "properties": {"label": {"enum": list(LABELS)}}}


def test_what_is_told_about_it_is_valid_json(model: BundleModel) -> None:
    about = json.loads(json.dumps(model.about, allow_nan=False))
    assert about["name"] == "oaks"
    assert about["identity"] == model.bundle.identity
    assert about["targets"]["label"]["test"]["accuracy"] == {"value": 0.75, "low": 0.5, "high": 0.875}
    assert about["trunk"]["licence"] == "Apache-2.0"
    assert about["engine"] == {"name": "numpy", "precision": "fp32", "version": "1"}


def test_each_input_gets_its_answer(model: BundleModel, engine: Watched) -> None:
    inputs = photos(5)
    answers = list(model.submit(inputs))
    assert [answer.index for answer in answers] == list(range(5))
    labels = [answer.value["label"] for answer in answers if answer.value]
    assert labels == [expected(engine, encoded) for encoded in inputs]
    assert engine.sizes == [5]


def test_a_bad_input_costs_one_answer_and_not_the_others(model: BundleModel, engine: Watched) -> None:
    good = photos(2)
    answers = list(model.submit([good[0], b"broken", good[1]]))
    assert [answer.problem for answer in answers] == [None, "Got 6 bytes; 48 were expected.", None]
    assert answers[1].value is None
    assert answers[2].value == next(iter(model.submit([good[1]]))).value
    assert engine.sizes[0] == 2


def test_nothing_but_bad_inputs_never_reaches_the_engine(model: BundleModel, engine: Watched) -> None:
    assert [answer.problem is None for answer in model.submit([b"", b"x"])] == [False, False]
    assert engine.sizes == []


def test_no_input_no_answer(model: BundleModel) -> None:
    assert list(model.submit([])) == []


def test_scores_that_are_no_numbers_become_a_problem(path: Path) -> None:
    weights = dict(tiny_graph().weights)
    weights["heads.label.bias"] = np.array([0, np.nan, 0], np.float32)
    broken = BundleModel(open_bundle(path, restore_tiny), TinyModality(), NumpyEngine(weights))
    (answer,) = broken.submit(photos(1))
    assert answer.value is None
    assert "no finite score" in str(answer.problem)


def test_several_targets_answer_under_their_names(tmp_path: Path) -> None:
    heads = ("label", "other")
    save(tmp_path / "two.topwork", tiny_contents(heads))
    bundle = open_bundle(tmp_path / "two.topwork", restore_tiny)
    both = BundleModel(bundle, TinyModality(), NumpyEngine(bundle.graph().weights))
    (answer,) = both.submit(photos(1))
    assert answer.value is not None
    assert set(answer.value) == {"label", "other"}
    assert both.answer_schema["required"] == ["label", "other"]


# --- many inputs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 100])
def test_any_number_of_inputs_comes_back_in_order(model: BundleModel, engine: Watched, n: int) -> None:
    inputs = photos(n)
    scored = list(model.scores(inputs))
    assert [item.row for item in scored] == list(range(n))
    for item, encoded in zip(scored, inputs, strict=True):
        assert item.scores is not None
        assert LABELS[int(item.scores["label"].argmax())] == expected(engine, encoded)
    assert sum(engine.sizes) == n
    assert max(engine.sizes) <= CHUNK


def test_rows_are_read_only_when_their_turn_comes(model: BundleModel) -> None:
    """However many rows there are, the reader is only a few chunks ahead of who takes the results."""
    encoded, read = photos(1)[0], []

    def reading(row: int) -> bytes:
        read.append(row)
        return encoded

    results = model.score_rows(range(10_000_000), reading)
    for _ in range(CHUNK * 3):
        next(results)
    results.close()  # type: ignore[attr-defined]
    assert CHUNK * 3 <= len(read) <= CHUNK * 7


def test_rows_keep_the_numbers_that_the_caller_gave(model: BundleModel) -> None:
    rows = list(range(100, 160, 2))
    assert [item.row for item in model.score_rows(rows, lambda row: photos(1, row)[0])] == rows


def test_a_row_that_cannot_be_read_is_a_bad_one(model: BundleModel) -> None:
    def reading(row: int) -> bytes:
        if row == 20:
            raise DecodeError("The file is gone.", next_step="Look for it.")
        return photos(1)[0]

    problems = {item.row: item.problem for item in model.score_rows(range(40), reading) if item.problem}
    assert problems == {20: "The file is gone.\nLook for it."}


def test_an_error_of_another_sort_reaches_the_caller(model: BundleModel) -> None:
    def reading(row: int) -> bytes:
        raise MemoryError(row)

    with pytest.raises(MemoryError):
        list(model.score_rows(range(100), reading))


def test_several_threads_may_submit_at_once(model: BundleModel, engine: Watched) -> None:
    inputs = [photos(20, seed) for seed in range(8)]
    found: dict[int, list[Any]] = {}

    def ask(number: int) -> None:
        found[number] = [answer.value for answer in model.submit(inputs[number])]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, answers in found.items():
        assert [answer["label"] for answer in answers] == [expected(engine, e) for e in inputs[number]]
    assert len(found) == 8


# --- the proof --------------------------------------------------------------------------------------------


def test_the_network_of_the_fit_is_proven_and_warm(model: BundleModel, engine: Watched) -> None:
    model.prove()
    assert sorted(engine.sizes) == [1, 1, 1, 1, 4]


@pytest.mark.parametrize("name", sorted(tiny_graph().weights))
def test_a_disturbed_layer_is_not_proven(path: Path, name: str) -> None:
    weights = disturbed(tiny_graph(), name, factor=1.02).weights
    model = BundleModel(open_bundle(path, restore_tiny), TinyModality(), NumpyEngine(weights))
    with pytest.raises(ProofError, match=r"oaks\.topwork"):
        model.prove()


def test_labels_that_are_not_as_many_as_the_scores_are_not_proven(path: Path) -> None:
    def restore(task: str, state: Mapping[str, Json]) -> Target:
        return restore_tiny(task, {"labels": ["one", "two"]})

    bundle = open_bundle(path, restore)
    with pytest.raises(BundleError, match=r"gives \[3\] scores for 'label', which has 2 labels"):
        BundleModel(bundle, TinyModality(), NumpyEngine(bundle.graph().weights)).prove()


def test_a_target_without_an_output_does_not_open(tmp_path: Path) -> None:
    contents = tiny_contents()
    targets = {**contents.targets, "ghost": contents.targets["label"]}
    save(tmp_path / "x.topwork", type(contents)(**{**_fields(contents), "targets": targets}))
    with pytest.raises(BundleError, match=r"no output scores\.ghost"):
        BundleModel(open_bundle(tmp_path / "x.topwork", restore_tiny), TinyModality(), NumpyEngine({}))


def _fields(contents: Any) -> dict[str, Any]:
    return {name: getattr(contents, name) for name in contents.__dataclass_fields__}


# --- with real engines ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_a_real_engine_gives_what_the_weights_say(path: Path, name: Any) -> None:
    pytest.importorskip(name)
    bundle = open_bundle(path, restore_tiny)
    built = build(EngineChoice(name, "fp32"), bundle.graph(), n_threads=1, n_streams=1)
    model = BundleModel(bundle, TinyModality(), built)
    model.prove()
    inputs = photos(40)
    labels = [answer.value["label"] for answer in model.submit(inputs) if answer.value]
    assert labels == [expected(NumpyEngine(tiny_graph().weights), encoded) for encoded in inputs]


@pytest.mark.parametrize("layer", ["trunk.weight", "heads.label.weight"])
def test_a_real_engine_on_a_disturbed_layer_is_refused(path: Path, layer: str) -> None:
    bundle = open_bundle(path, restore_tiny)
    graph = disturbed(bundle.graph(), layer, factor=1.02)
    built = build(EngineChoice("openvino", "fp32"), graph, n_threads=1, n_streams=1)
    with pytest.raises(ProofError, match="no longer answers"):
        BundleModel(bundle, TinyModality(), built).prove()


def test_an_engine_that_there_is_not(path: Path) -> None:
    with pytest.raises(UsageError, match="no engine 'tensorflow'"):
        open_model(path, engine="tensorflow", restore=restore_tiny)


def test_a_modality_that_there_is_not(path: Path) -> None:
    with pytest.raises((BundleError, UsageError), match="grid"):
        open_model(path, restore=restore_tiny)


def test_a_network_that_a_short_number_format_spoils_runs_in_full_precision(path: Path) -> None:
    bundle = open_bundle(path, restore_tiny)
    right = bundle.graph().weights
    spoiled = {**right, "heads.label.weight": right["heads.label.weight"] + 3}
    short = NumpyEngine(spoiled, precision="bf16")
    model = BundleModel(bundle, TinyModality(), short, exact=lambda: NumpyEngine(right))
    model.prove()
    assert model.engine.precision == "fp32"
    assert model.about["engine"] == {"name": "numpy", "precision": "fp32", "version": "1"}
    with pytest.raises(ProofError):
        BundleModel(bundle, TinyModality(), short, exact=lambda: NumpyEngine(spoiled)).prove()
    with pytest.raises(ProofError):
        BundleModel(bundle, TinyModality(), short).prove()
