"""The whole way with ordered classes: from a table to a model, its proof, its comparisons and its answers."""

from __future__ import annotations

import csv
import io
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import topwork
from quick import fit_probe
from tiny_text_trunk import write_tiny_text_trunk
from topwork import DataError, FitOptions, Model, Surroundings, compare, evaluate, load
from topwork.cli.output import show_predictions
from topwork.contracts import Chart, Gallery, Table
from topwork.report.html import render_html
from topwork.report.markdown import render_markdown
from toy_photos import write_graded
from toy_texts import toy_texts

GRADES = FitOptions(task="ordinal", target=("grade",), proof="none")
METRICS = {"rank_error", "quadratic_weighted_kappa", "accuracy", "log_loss"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_graded(tmp_path_factory.mktemp("graded") / "data", 120)


@pytest.fixture(scope="module")
def model(
    table: Path, tiny_trunk: Path, around: Surroundings, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    out = tmp_path_factory.mktemp("ranks") / "grades.topwork"
    return fit_probe(table, out, trunk=str(tiny_trunk), options=GRADES, around=around)


def grades_of(table: Path) -> dict[str, int]:
    with table.open(encoding="utf-8") as stream:
        return {row["file"]: int(row["grade"]) for row in csv.DictReader(stream)}


def test_the_model_sees_how_red_a_picture_is(model: Model) -> None:
    result = model.record.targets["grade"]
    assert (result.task, result.labels, result.main_metric) == ("ordinal", ("1", "2", "3", "4"), "rank_error")
    assert set(result.test) == set(result.validation) == METRICS
    assert result.test["rank_error"].high < result.baselines["median"]["rank_error"].value
    assert result.test["quadratic_weighted_kappa"].low > 0.4
    assert set(model.record.data.class_counts["grade"]) == {"1", "2", "3", "4"}
    assert "stratified" in model.record.split.method


def test_an_answer_is_a_class_with_every_probability(model: Model, table: Path) -> None:
    off = []
    for name, grade in grades_of(table).items():
        said = model.predict(table.with_name(name))
        assert said.label is not None
        assert sum(said.probabilities.values()) == pytest.approx(1, abs=1e-5)
        off.append(abs(int(said.label) - grade))
    assert np.mean(off) < 0.5


def test_a_second_process_says_the_same_and_measures_the_same(
    model: Model, table: Path, tmp_path: Path
) -> None:
    again = load(model.save(tmp_path / "copy.topwork"))
    photo = table.with_name("003.jpg")
    assert again.predict(photo) == model.predict(photo)
    found, fitted = (
        evaluate(model.path, table, options=GRADES).targets["grade"],
        model.record.targets["grade"],
    )
    for metric, one in fitted.test.items():
        assert found.test[metric].value == pytest.approx(one.value, rel=1e-2)
    assert found.baselines["median"]["rank_error"].value == pytest.approx(
        fitted.baselines["median"]["rank_error"].value
    )


def test_the_proof_compares_ranks_and_leaves_out_what_scores_classes(
    table: Path, tiny_trunk: Path, around: Surroundings
) -> None:
    options = replace(GRADES, proof="standard", steps=40)
    climbed = topwork.fit(table, trunk=str(tiny_trunk), options=options, budget=None, around=around)
    record = climbed.record
    result = record.targets["grade"]
    rivals = {one.name: one for one in result.comparisons}
    assert {"median", "classical baseline", "from scratch"} <= set(rivals)
    assert rivals["median"].metrics["rank_error"].value == pytest.approx(
        result.baselines["median"]["rank_error"].value
    )
    for one in rivals.values():
        assert set(one.difference) == METRICS
        gap = result.test["rank_error"].value - one.metrics["rank_error"].value
        assert one.difference["rank_error"].value == pytest.approx(gap)
    titles = {section.title for section in result.sections}
    assert {
        "Confusion matrix",
        "How far off it is",
        "Largest mistakes",
        "What pretraining brought here",
    } <= titles
    assert "Typical of each class" not in titles
    (grown,) = [
        one for one in result.sections if one.title == "How the score grows with the number of labels"
    ]
    assert isinstance(grown, Chart)
    assert grown.y_label == "rank_error"
    assert grown.series[-1].points[-1].y < grown.series[-1].points[0].y, "more labels, fewer ranks off"
    claims = next(one for one in result.sections if one.title == "What pretraining brought here")
    assert isinstance(claims, Table)
    needs = str(next(row for row in claims.rows if row[0] == "It needs less data")[2])
    level = rivals["from scratch"].metrics["rank_error"].value
    is_reached = any(point.y <= level for point in grown.series[-1].points)
    assert needs.startswith("more than") == (not is_reached), "less of a rank error is better"
    assert not [note for note in record.notes if "could not be made" in note]
    assert {rung.loss_name for rung in record.rungs} == {"log loss per threshold"}
    for told in (render_html(record), render_markdown(record)):
        assert "rank error" in told
        assert "always answering the median" in told


def test_mistakes_tell_how_far_off_they_are(model: Model) -> None:
    gallery = next(one for one in model.record.targets["grade"].sections if isinstance(one, Gallery))
    off = [abs(int(one.truth) - int(one.predicted)) for one in gallery.pictures]
    assert off == sorted(off, reverse=True)
    assert all(off)


def test_two_models_are_compared_by_ranks(
    model: Model, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    other = fit_probe(
        write_graded(tmp_path / "other", 60, seed=2),
        tmp_path / "other.topwork",
        trunk=str(tiny_trunk),
        options=GRADES,
        around=around,
    )
    found = compare(model.path, other.path, write_graded(tmp_path / "fresh", 40, seed=3), options=GRADES)
    one = found.targets["grade"]
    assert one.n_rows == 40
    assert one.n_both_right + one.n_only_a_right == round(40 * one.a["accuracy"].value)
    assert one.difference["rank_error"].value == pytest.approx(
        one.a["rank_error"].value - one.b["rank_error"].value
    )


def test_text_labels_have_no_order(photos: Path, tiny_trunk: Path, around: Surroundings) -> None:
    with pytest.raises(DataError, match="60 of 60 values are none, such as 'blue', 'green', 'red'"):
        fit_probe(photos, trunk=str(tiny_trunk), options=FitOptions(task="ordinal"), around=around)


@pytest.mark.slow
def test_texts_are_graded(tmp_path: Path, around: Surroundings) -> None:
    trunk = str(write_tiny_text_trunk(tmp_path / "tiny-bert"))
    texts, labels = toy_texts(160)
    grades = [(4 if label == "praise" else 1) + i // 2 % 2 for i, label in enumerate(labels)]
    model = fit_probe(
        {"text": texts, "grade": grades},
        tmp_path / "grades.topwork",
        trunk=trunk,
        options=replace(GRADES, proof="quick"),
        around=around,
    )
    compared = {one.name: one for one in model.record.targets["grade"].comparisons}
    assert compared["classical baseline"].metrics["quadratic_weighted_kappa"].value > 0.5
    fresh, wanted = toy_texts(60, seed=9)
    said = [int(one.label or 0) for one in model.predict(fresh)]
    assert (
        np.mean([(grade > 3) == (label == "praise") for grade, label in zip(said, wanted, strict=True)]) > 0.7
    )
    (told,) = model.servable.explain([b"A lovely warm meal. The parcel was broken."])
    assert told.value is not None
    assert told.value["towards"] == "a higher class"
    pieces: Any = told.value["pieces"]
    heat = {one["text"]: one["heat"] for one in pieces}
    assert heat["lovely"] > 0 > heat["broken."], "what praises speaks for a higher grade, whatever the answer"


@pytest.mark.parametrize("form", ["text", "csv"])
def test_predictions_are_told_as_those_of_classes(model: Model, table: Path, form: str) -> None:
    inputs = [table.with_name(f"00{i}.jpg") for i in range(6)]
    out = io.StringIO()
    with redirect_stdout(out):
        show_predictions(model, inputs, form)  # type: ignore[arg-type]
    lines = out.getvalue().splitlines()
    for i, one in enumerate(map(model.predict, inputs)):
        assert one.label is not None
        if form == "text":
            others = [name for name in one.probabilities if name != one.label][:2]
            assert lines[i].startswith(f"{inputs[i]}\t{one.label} {one.probabilities[one.label]:.1%}")
            assert lines[i].endswith(
                ", ".join(f"{name} {one.probabilities[name]:.1%}" for name in others) + ")"
            )
        else:
            row = list(csv.DictReader(lines))[i]
            assert list(row) == ["input", "label", "error", "in_domain", "1", "2", "3", "4"]
            assert row["label"] == one.label


def test_grades_that_are_two_ranks_off_are_listed(
    tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    table = write_graded(tmp_path / "data", 120)
    planted = [name for name, grade in grades_of(table).items() if grade == 1][:5]
    lines = table.read_text(encoding="utf-8").splitlines()
    wrong = [f"{line[:-1]}4" if line.split(",")[0] in planted else line for line in lines]
    table.write_text("\n".join(wrong) + "\n", encoding="utf-8")
    options = replace(GRADES, proof="quick")
    model = fit_probe(
        table, tmp_path / "grades.topwork", trunk=str(tiny_trunk), options=options, around=around
    )
    assert model.labels is not None
    listed = list(csv.DictReader(io.StringIO(model.labels.read_text(encoding="utf-8-sig"))))
    assert len({Path(row["key"]).name for row in listed} & set(planted)) >= 4
    assert all(abs(int(row["label"]) - int(row["new_label"])) >= 2 for row in listed)
