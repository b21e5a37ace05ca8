"""`optimize`: what is tried, what is written, and that the new bundle serves, predicts, compares and proves itself."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

import topwork
from quick import fit_probe
from tiny_text_trunk import write_tiny_text_trunk
from topwork import (
    DataError,
    FitOptions,
    Model,
    Surroundings,
    UsageError,
    compare,
    evaluate,
    fit,
    keep,
    load,
)
from topwork.bundle import TOLERANCE
from topwork.contracts import Table
from topwork.engines.machine import installed
from topwork.steps.election import leading_metric
from topwork.verbs import Optimization
from toy_photos import write_measured, write_photos
from toy_texts import toy_texts

optimize = partial(topwork.optimize, n_rounds=2)

N_NEW = 400
"""Photos of each class that the bundle has not seen: enough to show that eight bits lose nothing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("optimized")


@pytest.fixture(scope="module")
def new(folder: Path) -> Path:
    return write_photos(folder / "new", N_NEW, seed=50)


@pytest.fixture(scope="module")
def bare(photos: Path, tiny_trunk: Path, folder: Path, around: Surroundings) -> Path:
    """A bundle that keeps no examples."""
    options = FitOptions(keep_examples=False, proof="none")
    return fit_probe(
        photos, folder / "bare.topwork", trunk=str(tiny_trunk), options=options, around=around
    ).path


@pytest.fixture(scope="module")
def plain(fitted: Model, folder: Path, around: Surroundings) -> Optimization:
    return optimize(fitted.path, folder / "plain.topwork", around=around)


@pytest.fixture(scope="module")
def small(fitted: Model, folder: Path, new: Path, around: Surroundings) -> Optimization:
    pytest.importorskip("nncf", exc_type=ImportError)
    return optimize(fitted.path, folder / "small.topwork", data=new, aim="size", around=around)


# --- without labelled data ------------------------------------------------------------------------------


def test_every_engine_here_is_tried_and_one_is_chosen(plain: Optimization, fitted: Model) -> None:
    names = [one.contender.name for one in plain.tried]
    assert {name.split()[0] for name in names} == set(installed())
    assert plain.reasons.count("chosen") == 1
    assert plain.chosen.contender.precision != "int8"
    for one in plain.tried:
        if one.pace is not None and one.golden_error is not None:
            assert one.golden_error <= TOLERANCE[one.contender.precision]
            assert one.n_same is not None
            assert one.n_same >= 7
            assert (one.pace.items_per_s > 0).all()
    assert plain.n_rows == 0
    assert not plain.chosen.metrics


def test_the_new_bundle_says_what_it_is_and_where_it_is_from(plain: Optimization, fitted: Model) -> None:
    made = plain.model.servable.bundle.manifest.optimized
    assert made is not None
    assert made.original == fitted.servable.bundle.identity
    assert (made.engine, made.precision) == (plain.chosen.contender.engine, plain.chosen.contender.precision)
    engine = plain.model.servable.engine
    assert (engine.name, engine.precision) == (made.engine, made.precision)
    assert plain.model.servable.about["optimized_from"] == made.original
    record, before = plain.model.record, fitted.record
    assert record.name == "plain"
    assert record.targets == before.targets  # nothing new was measured
    assert made.original in record.notes[len(before.notes)]
    (table,) = (one for one in record.sections if one.title == "Engines on one machine")
    assert isinstance(table, Table)
    assert len(table.rows) == len(plain.tried)


def test_eight_bits_are_not_chosen_where_nothing_shows_what_they_lose(plain: Optimization) -> None:
    said = [
        reason
        for one, reason in zip(plain.tried, plain.reasons, strict=True)
        if one.contender.precision == "int8"
    ]
    assert len(said) == len(installed() - {"torch"})
    assert all("without labelled data" in one or "not made" in one for one in said)


def test_without_examples_they_are_not_even_made(bare: Path, folder: Path, around: Surroundings) -> None:
    found = optimize(bare, folder / "none.topwork", around=around)
    assert "the bundle keeps no examples to calibrate on; give --data" in found.reasons[-1]
    assert found.tried[-1].pace is None
    assert found.n_examples == 0


# --- with labelled data ---------------------------------------------------------------------------------


def test_of_the_data_of_the_fit_its_test_is_measured(
    bare: Path, photos: Path, folder: Path, around: Surroundings
) -> None:
    found = optimize(bare, folder / "tested.topwork", data=photos, around=around)
    assert found.n_rows == 12
    fitted = load(bare).record.targets["label"]
    found_now = found.tried[0].metrics["label"]["accuracy"].value
    assert found_now == pytest.approx(
        fitted.test["accuracy"].value, abs=1.5 / 12
    )  # it was fitted in bf16, perhaps
    assert found.model.record.split.n_test == 12
    if found.n_examples:  # calibrated on the rows of the data that it was fitted on, and on none of the test
        assert found.n_examples == 48
        assert "lose" in found.reasons[-1]  # twelve rows show nothing
    assert found.model.record.notes[-1].startswith(
        "Test metrics were measured as it runs now, on 12 rows of colours that it was not fitted on. Whether"
    )


def test_eight_bits_are_a_smaller_bundle_that_answers_alike(
    small: Optimization, fitted: Model, new: Path, around: Surroundings
) -> None:
    assert small.chosen.contender.precision == "int8"
    assert small.n_rows == 3 * N_NEW
    assert small.n_examples == 48
    assert small.model.servable.engine.precision == "int8"
    bundles = fitted.servable.bundle, small.model.servable.bundle
    sizes = [one.manifest.parts["weights.safetensors"].bytes for one in bundles]
    assert sizes[1] < sizes[0] / 2
    assert bundles[1].examples() == ()
    paths = sorted(new.rglob("*.jpg"))[:: N_NEW // 4]
    said = [[one.label for one in model.predict(list(map(str, paths)))] for model in (fitted, small.model)]
    assert np.mean(np.array(said[0]) == np.array(said[1])) > 0.9


def test_its_test_metrics_are_its_own_beside_the_paired_difference(
    small: Optimization, fitted: Model, new: Path, around: Surroundings
) -> None:
    told = small.model.record.targets["label"]
    again = evaluate(small.model.path, new, around=around).targets["label"]
    assert told.test["accuracy"].value == pytest.approx(again.test["accuracy"].value, abs=0.002)
    (before,) = told.comparisons
    exact = evaluate(fitted.path, new, around=replace(around, engine="openvino")).targets["label"]
    assert before.metrics["accuracy"].value == pytest.approx(exact.test["accuracy"].value, abs=0.003)
    difference = before.difference["accuracy"]
    assert difference.value == pytest.approx(
        told.test["accuracy"].value - before.metrics["accuracy"].value, abs=1e-9
    )
    assert difference.value >= -0.005
    assert difference.low >= -0.01


def test_other_commands_take_it(
    small: Optimization, fitted: Model, new: Path, folder: Path, around: Surroundings
) -> None:
    found = compare(fitted.path, small.model.path, new, around=around).targets["label"]
    assert abs(found.difference["accuracy"].value) < 0.02
    kept = keep(small.model.path, folder / "kept.topwork", ["label"], around=around)
    assert kept.servable.bundle.manifest.optimized == small.model.servable.bundle.manifest.optimized
    assert kept.servable.engine.precision == "int8"
    others = sorted(installed() - {"torch", small.chosen.contender.engine})
    for engine in others:  # the graph is a standard one
        model = load(small.model.path, around=replace(around, engine=engine))  # type: ignore[arg-type]
        assert (model.servable.engine.name, model.servable.engine.precision) == (engine, "int8")


def test_it_is_neither_trained_on_nor_optimised_again(
    small: Optimization, photos: Path, tiny_trunk: Path, folder: Path, around: Surroundings
) -> None:
    identity = small.model.servable.bundle.manifest.optimized
    assert identity is not None
    with pytest.raises(UsageError, match=r"optimised before, for .* in int8") as told:
        optimize(small.model.path, folder / "again.topwork", around=around)
    assert identity.original in told.value.next_step
    with pytest.raises(UsageError, match="its weights cannot be trained"):
        fit(
            photos,
            folder / "onward.topwork",
            trunk=str(tiny_trunk),
            recipe="probe",
            options=FitOptions(onward=small.model.path),
            around=around,
        )


# --- texts, and targets that are no labels ---------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")
@pytest.mark.slow
def test_texts_of_any_length_are_calibrated_on_and_compared(folder: Path, around: Surroundings) -> None:
    pytest.importorskip("nncf", exc_type=ImportError)
    trunk = write_tiny_text_trunk(folder / "tiny-bert")
    texts, labels = toy_texts(60)
    texts = [f"{text} {text}" if i % 3 == 0 else text for i, text in enumerate(texts)]
    options = FitOptions(proof="none")
    model = fit_probe(
        (texts, labels), folder / "post.topwork", trunk=str(trunk), options=options, around=around
    )
    assert len({one.shape for one in model.servable.bundle.examples()}) > 1
    found = optimize(model.path, folder / "short.topwork", data=toy_texts(40, seed=5), around=around)
    assert found.n_examples == len(model.servable.bundle.examples()) == 48
    short = [one for one in found.tried if one.contender.precision == "int8"]
    assert len(short) == 2
    for one in short:
        assert one.problem == ""
        assert one.golden_error is not None
        assert 0 < one.golden_error < TOLERANCE["int8"]
        assert one.metrics["label"]["accuracy"].value > 0.7


@pytest.mark.slow
def test_a_number_is_held_to_its_own_metric(folder: Path, tiny_trunk: Path, around: Surroundings) -> None:
    table = write_measured(folder / "priced")
    options = FitOptions(proof="none", task="regression", target=("price",))
    model = fit_probe(table, folder / "priced.topwork", trunk=str(tiny_trunk), options=options, around=around)
    new = write_measured(folder / "others", 40, seed=8)
    found = optimize(
        model.path, folder / "numbers.topwork", data=new, options=FitOptions(target=("price",)), around=around
    )
    assert found.n_rows == 40
    assert all(one.n_same is None for one in found.tried)
    target = model.servable.targets["price"]
    assert leading_metric(found.tried[0].difference["price"]) == target.main_metric == "r2"
    assert found.tried[0].metrics["price"]["r2"].value > 0


# --- what is refused ------------------------------------------------------------------------------------


def test_data_that_it_was_fitted_on_alone_are_refused(
    fitted: Model, photos: Path, tmp_path: Path, around: Surroundings
) -> None:
    sides = fitted.servable.bundle.sides()
    for path in photos.rglob("*.jpg"):
        if sides[sha256(path.read_bytes()).hexdigest()] != "test":
            (tmp_path / "known" / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / "known" / path.parent.name)
    with pytest.raises(DataError, match="fitted on all 48 inputs of known"):
        optimize(fitted.path, tmp_path / "out.topwork", data=tmp_path / "known", around=around)
    assert not (tmp_path / "out.topwork").exists()


def test_labels_that_it_does_not_know_are_refused(
    fitted: Model, tmp_path: Path, around: Surroundings
) -> None:
    data = write_photos(tmp_path / "data", 4, seed=9)
    for number, label in enumerate(("blue", "green", "red")):
        (data / label).rename(data / f"shade{number}")
    with pytest.raises(DataError, match="has a label for label that it knows"):
        optimize(fitted.path, tmp_path / "out.topwork", data=data, around=around)


def test_the_bundle_itself_is_not_overwritten(fitted: Model, around: Surroundings) -> None:
    with pytest.raises(UsageError, match="would be overwritten"):
        optimize(fitted.path, fitted.path, around=around)


def test_heads_alone_have_nothing_to_optimise(tmp_path: Path, around: Surroundings) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 5)).astype(np.float32)
    labels = ["a" if one > 0 else "b" for one in vectors[:, 0]]
    options = FitOptions(proof="none")
    model = fit_probe((vectors, labels), tmp_path / "v.topwork", options=options, around=around)
    assert model.servable.bundle.examples() == ()
    with pytest.raises(UsageError, match="holds heads alone"):
        optimize(model.path, tmp_path / "out.topwork", around=around)
