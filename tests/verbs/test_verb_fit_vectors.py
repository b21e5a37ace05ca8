"""The whole way with rows of numbers: from arrays and from files to a model, its proof and its answers over HTTP."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import topwork
from quick import fit_probe
from told import Told
from topwork import DataError, DecodeError, FitOptions, Model, Surroundings, UsageError
from topwork.contracts import Array
from topwork.serving.http.bodies import reader_for

pytestmark = pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")

ALL_ROWS = FitOptions(proof="none", test_fraction=0.0)


def clouds(n: int = 90, seed: int = 0) -> tuple[Array, list[str]]:
    """Return rows of 4 numbers around three points, and the names of these."""
    draw = np.random.default_rng(seed)
    number = np.arange(n) % 3
    return draw.normal(size=(n, 4)) + 100 + 3 * np.eye(4)[number], [("a", "b", "c")[i] for i in number]


@pytest.fixture(scope="module")
def model(around: Surroundings, tmp_path_factory: pytest.TempPathFactory) -> Model:
    out = tmp_path_factory.mktemp("vectors") / "clouds.topwork"
    return fit_probe(clouds(), out, options=FitOptions(proof="quick"), around=around)


def test_it_learns_what_the_numbers_say(model: Model) -> None:
    record, (rows, labels) = model.record, clouds(60, seed=1)
    assert (record.data.modality, record.trunk.name) == ("vector", "identity/4")
    assert record.targets["label"].test["accuracy"].value > 0.8
    assert (
        np.mean([one.label == label for one, label in zip(model.predict(list(rows)), labels, strict=True)])
        > 0.8
    )


def test_numbers_may_come_in_any_units(around: Surroundings, tmp_path: Path) -> None:
    """The model, the linear model on hand-made features and the growth with the data come out the same."""

    def told(name: str, units: Array) -> list[float]:
        rows, labels = clouds(150)
        result = fit_probe((rows * units, labels), tmp_path / name, around=around).record.targets["label"]
        assert result.growth is not None
        points = [point.y for point in result.growth.chart.series[0].points]
        return [*(one["log_loss"].value for one in (result.test, result.comparisons[1].metrics)), *points]

    expected = told("one", np.ones(4))
    assert told("several", np.array([1e-3, 1e3, 1, 10])) == pytest.approx(expected, rel=0.02)


def test_its_proof_knows_that_there_is_no_network(model: Model) -> None:
    assert model.record.notes == tuple(note for note in model.record.notes if "could not be made" not in note)
    names = [one.name for one in model.record.targets["label"].comparisons]
    assert names == ["majority", "classical baseline"]


def test_a_bad_vector_costs_its_own_answer(model: Model) -> None:
    rows = clouds(1)[0]
    found = model.predict([rows[0], [1, 2, 3], [1, 2, 3, float("nan")]])
    assert [one.problem is None for one in found] == [True, False, False]
    assert found[1].problem is not None
    assert "has 3 numbers; expected 4" in found[1].problem
    with pytest.raises(DecodeError, match="is nan"):
        model.predict(np.array([1, 2, 3, np.nan]))


def test_a_server_takes_lists_of_numbers(model: Model) -> None:
    rows = clouds(2)[0].round(3)
    reader = reader_for("application/json", model.servable.wire, max_inputs=8, max_body_bytes=10_000)
    body = reader.read(json.dumps({"inputs": rows.tolist()}).encode())
    assert all(isinstance(one, bytes) for one in body)
    answers = list(model.servable.submit([one for one in body if isinstance(one, bytes)]))
    expected = model.predict(list(rows))
    for one, other in zip(answers, expected, strict=True):
        assert one.value is not None
        assert one.value["probabilities"] == pytest.approx(other.probabilities, abs=1e-6)


def test_it_travels_in_a_pickle_as_its_bundle(model: Model) -> None:
    row = clouds(1)[0][0]
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert isinstance(other, Model)
        assert (other.name, other.record) == (model.name, model.record)
        assert other.path != model.path
        assert other.predict(row).probabilities == model.predict(row).probabilities


def test_folders_of_numpy_files_are_vectors(tmp_path: Path, around: Surroundings) -> None:
    for i, (row, label) in enumerate(zip(*clouds(30), strict=True)):
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "data" / label / f"{i:02}.npy", row)
    np.save(tmp_path / "data" / "a" / "short.npy", np.ones(3))
    found = fit_probe(
        tmp_path / "data", around=around, options=FitOptions(proof="none", keep_training_data=False)
    )
    assert found.record.trunk.name == "identity/4"
    assert [one.key for one in found.record.data.rejected] == ["a/short.npy"]
    assert found.predict(str(tmp_path / "data" / "a" / "00.npy")).label == "a"
    assert all(golden.key.startswith("synthetic") for golden in found.servable.bundle.goldens())


def test_all_rows_are_fitted_on_where_no_test_is_wanted(around: Surroundings) -> None:
    found = fit_probe(clouds(), options=ALL_ROWS, around=around)
    record = found.record
    assert (record.split.n_train, record.split.n_valid, record.split.n_test) == (90, 0, 0)
    assert record.split.method.startswith("No test: every row is fitted on")
    result = record.targets["label"]
    assert not result.test["accuracy"].is_known
    assert result.validation["accuracy"].value > 0.8
    assert set(found.servable.bundle.sides().values()) == {"train"}


def test_numbers_are_predicted_without_a_test_too(around: Surroundings) -> None:
    rows, _ = clouds()
    options = FitOptions(proof="none", test_fraction=0.0, task="regression")
    found = fit_probe((rows, rows @ [1, 2, 0, 0]), options=options, around=around)
    one = found.predict(rows[0])
    assert one.low is not None
    assert one.high is not None
    assert one.low < rows[0] @ [1, 2, 0, 0] < one.high
    assert not found.record.targets["label"].test["r2"].is_known


def test_what_cannot_work_is_refused(around: Surroundings) -> None:
    with pytest.raises(UsageError, match="a proof needs rows that were not"):
        fit_probe(clouds(), options=FitOptions(test_fraction=0.0), around=around)
    with pytest.raises(UsageError, match=r"'identity/4' has no weights that could be trained"):
        topwork.fit(clouds(), recipe="full", options=ALL_ROWS, around=around)
    with pytest.raises(UsageError, match="takes inputs of the kind 'vector'"):
        fit_probe((["late", "soon"] * 10, ["a", "b"] * 10), trunk="identity", around=around)
    with pytest.raises(DataError, match="None of 20 vectors can be read"):
        fit_probe((np.full((20, 2), np.nan), ["a", "b"] * 10), around=around)
    with pytest.raises(UsageError, match="Leave one of them out"):
        fit_probe(clouds(), options=FitOptions(proof="none", test_fraction=0.0, time="when"), around=around)


def test_numbers_are_not_kept_as_features_of_themselves(around: Surroundings, tmp_path: Path) -> None:
    fit_probe(clouds(150), options=ALL_ROWS, around=replace(around, cache_dir=tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


def test_the_ladder_ends_with_the_probe_where_nothing_can_be_trained(around: Surroundings) -> None:
    told = Told()
    found = topwork.fit(clouds(), options=ALL_ROWS, around=replace(around, progress=told))
    assert found.record.recipe == "probe"
    assert "The trunk identity/4 has no weights to train, so the probe is fitted and no more." in told.lines


def test_a_bundle_of_vectors_is_gone_on_from(model: Model, around: Surroundings) -> None:
    rows, labels = clouds(60, seed=2)
    found = fit_probe((rows, labels), options=FitOptions(proof="none", onward=model.path), around=around)
    assert found.record.trunk.name == "identity/4"
