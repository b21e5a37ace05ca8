"""The whole way with several labels at once: from a table to a model, its proof, its comparisons and its answers."""

from __future__ import annotations

import csv
import io
import json
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import topwork
from quick import fit_probe
from tiny_text_trunk import write_tiny_text_trunk
from topwork import DataError, FitOptions, Model, Surroundings, compare, evaluate, load
from topwork.bundle.card import render_card
from topwork.cli.output import show_predictions
from topwork.contracts import Gallery, Table
from topwork.progress import Lines
from topwork.report.html import render_html
from topwork.report.markdown import render_markdown
from toy_photos import write_tagged
from toy_texts import toy_texts

SETS = FitOptions(task="multilabel", target=("tags",), proof="none")
METRICS = {"macro_f1", "micro_f1", "mean_average_precision", "hamming_loss", "exact_match"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagged(tmp_path_factory.mktemp("tagged") / "data", 100)


@pytest.fixture(scope="module")
def model(
    table: Path, tiny_trunk: Path, around: Surroundings, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    out = tmp_path_factory.mktemp("sets") / "tags.topwork"
    return fit_probe(table, out, trunk=str(tiny_trunk), options=SETS, around=around)


@pytest.fixture(scope="module")
def climbed(
    table: Path, tiny_trunk: Path, around: Surroundings, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    out = tmp_path_factory.mktemp("climbed") / "tags.topwork"
    options = replace(SETS, proof="standard", steps=40)
    return topwork.fit(table, out, trunk=str(tiny_trunk), options=options, budget=None, around=around)


def tags_of(table: Path) -> dict[str, set[str]]:
    with table.open(encoding="utf-8") as stream:
        return {row["file"]: set(row["tags"].split(";")) - {""} for row in csv.DictReader(stream)}


def test_the_model_sees_what_is_in_a_picture(model: Model) -> None:
    result = model.record.targets["tags"]
    assert (result.task, result.labels, result.main_metric) == (
        "multilabel",
        ("bluish", "reddish"),
        "macro_f1",
    )
    assert set(result.test) == set(result.validation) == METRICS
    assert result.test["macro_f1"].low > result.baselines["frequent labels"]["macro_f1"].value
    assert result.test["exact_match"].value > 0.6
    assert model.record.data.class_counts == {}
    assert any("separated by ';'" in line for line in model.record.data.findings)
    assert "stratified" in model.record.split.method


def test_an_answer_gives_the_labels_and_every_probability(model: Model, table: Path) -> None:
    right = []
    for name, tags in tags_of(table).items():
        said = model.predict(table.with_name(name))
        assert said.label is None
        assert said.labels is not None
        assert set(said.probabilities) == {"bluish", "reddish"}
        right.append(set(said.labels) == tags)
    assert np.mean(right) > 0.8
    assert set(model.servable.answer_schema["properties"]) == {"labels", "probabilities", "in_domain"}  # type: ignore[arg-type]


def test_a_second_process_says_the_same(model: Model, table: Path, tmp_path: Path) -> None:
    again = load(model.save(tmp_path / "copy.topwork"))
    photo = table.with_name("003.jpg")
    assert again.predict(photo) == model.predict(photo)
    assert again.servable.targets == model.servable.targets


def test_evaluating_gives_the_metrics_of_the_test_again(model: Model, table: Path) -> None:
    record = evaluate(model.path, table, options=SETS)
    found, fitted = record.targets["tags"], model.record.targets["tags"]
    assert found.n_test == fitted.n_test == 20
    for metric, one in fitted.test.items():
        assert found.test[metric].value == pytest.approx(one.value, abs=1e-6)
    ours, theirs = (one.baselines["frequent labels"]["macro_f1"].value for one in (found, fitted))
    assert ours == pytest.approx(theirs)


def test_the_proof_compares_label_by_label_and_leaves_out_what_is_about_single_classes(
    climbed: Model,
) -> None:
    record = climbed.record
    result = record.targets["tags"]
    rivals = {one.name: one for one in result.comparisons}
    assert {"same labels", "classical baseline", "from scratch"} <= set(rivals)
    for one in rivals.values():
        assert set(one.difference) == set(one.metrics) == METRICS
        gap = result.test["macro_f1"].value - one.metrics["macro_f1"].value
        assert one.difference["macro_f1"].value == pytest.approx(gap)
    titles = [section.title for section in result.sections]
    assert {
        "Each label",
        "How many labels",
        "Most confident mistakes",
        "What pretraining brought here",
    } <= set(titles)
    assert "Each label, against: classical baseline" in titles
    assert not {"Typical of each class", "Confusion matrix"} & set(titles)
    assert "How the score grows with the number of labels" in titles
    assert not [note for note in record.notes if "could not be made" in note]
    assert {rung.loss_name for rung in record.rungs} == {"log loss per label"}


def test_cuts_are_those_of_held_out_rows(climbed: Model, model: Model) -> None:
    for one in (climbed, model):
        table = next(s for s in one.record.targets["tags"].sections if isinstance(s, Table))
        cuts = one.servable.targets["tags"].state()["cuts"]
        assert isinstance(cuts, list)
        assert any(cuts)
        shares = [f"{1 / (1 + np.exp(-float(str(cut)))):.0%}" for cut in cuts]
        assert [row[1] for row in table.rows] == shares


def test_mistakes_are_shown_with_what_is_wrong(model: Model) -> None:
    gallery = next(one for one in model.record.targets["tags"].sections if isinstance(one, Gallery))
    assert all("too many: " in one.caption or "missing: " in one.caption for one in gallery.pictures)


def test_reports_speak_of_labels(climbed: Model) -> None:
    page, text = render_html(climbed.record), render_markdown(climbed.record)
    for told in (page, text):
        assert "macro F1" in told
        assert "mean average precision" in told
        assert "log loss per label" in told
        assert "most frequent class" not in told
    assert "2 labels" in render_card("tags", climbed.record)


def test_two_models_are_compared_over_the_labels_that_either_knows(
    model: Model, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    other = fit_probe(
        write_tagged(tmp_path / "other", 60, seed=2, named={"bluish": "blueish"}),
        tmp_path / "other.topwork",
        trunk=str(tiny_trunk),
        options=SETS,
        around=around,
    )
    fresh = write_tagged(tmp_path / "fresh", 40, seed=3)
    found = compare(model.path, other.path, fresh, options=SETS, around=around)
    one = found.targets["tags"]
    assert one.n_rows == 40
    alone = evaluate(model.path, fresh, options=SETS).targets["tags"].test
    assert one.a["exact_match"].value == pytest.approx(alone["exact_match"].value)
    assert one.difference["macro_f1"].value == pytest.approx(
        one.a["macro_f1"].value - one.b["macro_f1"].value
    )
    assert one.n_both_right + one.n_only_a_right == round(40 * one.a["exact_match"].value)
    assert {d.truth for d in one.disagreements} & {"bluish", "bluish, reddish"}
    assert any("second bundle does not know bluish" in note for note in found.notes)


def test_the_separator_is_told(table: Path, around: Surroundings, tiny_trunk: Path) -> None:
    said = io.StringIO()
    fit_probe(table, trunk=str(tiny_trunk), options=SETS, around=replace(around, progress=Lines(said)))
    assert "separated by ';'" in said.getvalue()
    assert any("separated by ';'" in line for line in topwork.check(table, options=SETS).findings.lines)


def test_a_column_of_single_labels_is_refused(photos: Path, tiny_trunk: Path, around: Surroundings) -> None:
    with pytest.raises(DataError, match="60 cells holds more than one label, such as 'blue'"):
        fit_probe(photos, trunk=str(tiny_trunk), options=FitOptions(task="multilabel"), around=around)


def test_the_look_at_the_data_does_not_count_sets(table: Path) -> None:
    found = topwork.check(table, options=SETS)
    assert found.obstacle is None
    assert found.findings.class_counts == {}
    assert found.split is not None
    assert "stratified" in found.split.method


@pytest.mark.slow
def test_texts_have_several_labels(tmp_path: Path, around: Surroundings) -> None:
    """Whether a text praises or complains, and whether it names a parcel."""
    trunk = str(write_tiny_text_trunk(tmp_path / "tiny-bert"))
    texts, labels = toy_texts(160)
    tags = [
        f"{label}, parcel" if "parcel" in text else f"{label},"
        for text, label in zip(texts, labels, strict=True)
    ]
    model = fit_probe(
        {"text": texts, "tags": tags},
        tmp_path / "tags.topwork",
        trunk=trunk,
        options=FitOptions(task="multilabel", target=("tags",), proof="quick"),
        around=around,
    )
    result = model.record.targets["tags"]
    assert result.labels == ("complaint", "parcel", "praise")
    compared = {one.name: one for one in result.comparisons}
    assert compared["classical baseline"].metrics["macro_f1"].value > 0.8
    fresh, wanted = toy_texts(80, seed=9)
    said = [one.labels or () for one in model.predict(fresh)]
    right = [{*one} & {"complaint", "praise"} == {label} for one, label in zip(said, wanted, strict=True)]
    assert np.mean(right) > 0.7
    (told,) = model.servable.explain([b"The parcel was broken."])
    assert told.value is not None
    assert told.value["answer"] == model.predict("The parcel was broken.").answer
    assert told.value["towards"] == next(iter(model.predict("The parcel was broken.").probabilities))


@pytest.mark.parametrize("form", ["text", "jsonl", "csv"])
def test_predictions_are_told_with_their_labels(model: Model, table: Path, form: str) -> None:
    inputs = [table.with_name(f"00{i}.jpg") for i in range(6)]
    said = [model.predict(one) for one in inputs]
    assert len({one.labels for one in said}) > 1
    out = io.StringIO()
    with redirect_stdout(out):
        show_predictions(model, inputs, form)  # type: ignore[arg-type]
    lines = out.getvalue().splitlines()
    for i, one in enumerate(said):
        assert one.labels is not None
        if form == "text":
            told = ", ".join(f"{name} {one.probabilities[name]:.1%}" for name in one.labels)
            assert lines[i] == f"{inputs[i]}\t{told or 'none of the labels'}"
        elif form == "jsonl":
            assert json.loads(lines[i]) == {"input": str(inputs[i]), **(one.answer or {})}
        else:
            row = list(csv.DictReader(lines))[i]
            assert list(row) == ["input", "labels", "error", "in_domain", "bluish", "reddish"]
            assert tuple(json.loads(row["labels"])) == one.labels


# --- labels that look wrong ---------------------------------------------------------------------------------


def test_labels_too_many_or_missing_are_listed_and_can_be_handed_back(
    tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    table = write_tagged(tmp_path / "data", 100)
    right = tags_of(table)
    rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))))
    planted = [row["file"] for row in rows if right[row["file"]] == {"reddish"}][:4]
    for row in rows:
        row["tags"] = "bluish" if row["file"] in planted else row["tags"]
    with table.open("w", encoding="utf-8", newline="") as stream:
        write = csv.DictWriter(stream, list(rows[0]))
        write.writeheader()
        write.writerows(rows)
    options = replace(SETS, proof="quick")
    model = fit_probe(table, tmp_path / "tags.topwork", trunk=str(tiny_trunk), options=options, around=around)
    assert model.labels is not None
    listed = {
        row["key"]: row for row in csv.DictReader(io.StringIO(model.labels.read_text(encoding="utf-8-sig")))
    }
    found = [row for row in listed.values() if Path(row["key"]).name in planted]
    assert len(found) >= 2
    assert len(listed) < 15
    assert {row["label"] for row in found} == {"bluish"}, "as it stands in the cell"
    assert all("reddish" in row["new_label"].split(";") for row in found)
    (gallery,) = [
        one
        for one in model.record.targets["tags"].sections
        if isinstance(one, Gallery) and one.title == "Labels that look wrong"
    ]
    assert any(one.caption.startswith("labelled bluish, looks like ") for one in gallery.pictures)
    for row in listed.values():
        row["action"] = "relabel"
    with model.labels.open("w", encoding="utf-8", newline="") as stream:
        write = csv.DictWriter(stream, list(found[0]))
        write.writeheader()
        write.writerows(listed.values())
    again = fit_probe(table, trunk=str(tiny_trunk), options=replace(SETS, labels=model.labels), around=around)
    assert any(f"{len(listed)} inputs relabelled" in line for line in again.record.data.understood)
    assert again.record.targets["tags"].labels == ("bluish", "reddish"), "what was written can be read"
