"""The whole way with times and events: from a table to risks, bands and what is left, its proof and its comparisons."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import topwork
from quick import fit_probe
from tiny_text_trunk import write_tiny_text_trunk
from topwork import DataError, FitOptions, Model, Surroundings, UsageError, compare, evaluate, load
from topwork.contracts import Array, Chart, Gallery, Table
from topwork.data.columns import Column
from topwork.report.html import render_html
from topwork.report.markdown import render_markdown
from toy_photos import write_followed
from toy_texts import toy_texts

DAYS = FitOptions(task="survival", target=("days",), event="broke", proof="none")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_followed(tmp_path_factory.mktemp("followed") / "data", 240)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_followed(tmp_path_factory.mktemp("fresh") / "data", 120, seed=3)


@pytest.fixture(scope="module")
def model(
    table: Path, tiny_trunk: Path, around: Surroundings, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    out = tmp_path_factory.mktemp("risky") / "days.topwork"
    return fit_probe(table, out, trunk=str(tiny_trunk), options=DAYS, around=around)


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def redness(table: Path) -> Array:
    return np.array([float(row["red"]) for row in rows_of(table)])


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Tell whether JSON fits the few words of JSON Schema that an answer's uses."""
    if schema["type"] == "object":
        properties = schema["properties"]
        has_names = set(schema["required"]) <= set(value) <= set(properties)
        return has_names and all(fits(value[k], properties[k]) for k in value)
    if schema["type"] == "array":
        n = len(value)
        return schema["minItems"] <= n <= schema["maxItems"] and all(
            fits(one, schema["items"]) for one in value
        )
    if schema["type"] == "string":
        return value in schema["enum"]
    if schema["type"] == "boolean":
        return isinstance(value, bool)
    return isinstance(value, float) and schema["minimum"] <= value <= schema.get("maximum", float("inf"))


def test_the_model_sees_what_breaks_first(model: Model) -> None:
    result = model.record.targets["days"]
    assert (result.task, result.labels, result.main_metric) == ("survival", (), "concordance")
    assert result.test["concordance"].low > 0.5
    assert result.baselines["same risk"]["concordance"].value == 0.5
    assert result.test["cox_loss"].value < result.baselines["same risk"]["cox_loss"].value
    assert model.record.data.class_counts == {}
    assert model.record.settings["event column"] == "broke"
    lines = (*model.record.data.understood, *model.record.data.findings)
    assert any("Column 'broke' says whether the event happened" in line for line in lines)
    assert any("are events and" in line for line in lines)
    assert "stratified" in model.record.split.method


def test_risks_follow_the_hazard_that_was_made(model: Model, fresh: Path) -> None:
    """On photos that it has not seen; the shares left are those that were made, on average of those of like risk."""
    red = redness(fresh)
    said = [model.predict(fresh.with_name(row["file"])) for row in rows_of(fresh)]
    risks = np.array([one.risk for one in said], float)
    assert np.corrcoef(np.log(risks), red)[0, 1] > 0.6  # the tiny network sees no more of the noisy colours
    assert {one.band for one in said} == {"low", "medium", "high"}
    assert np.mean([r for r, one in zip(red, said, strict=True) if one.band == "high"]) > 0.6
    for third in np.array_split(np.argsort(risks), 3):
        for time in said[0].survival:
            left = np.mean([said[row].survival[time] for row in third])
            true = np.mean(np.exp(-time / 100 * np.exp(4 * red[third] - 2)))
            assert left == pytest.approx(true, abs=0.15)


def test_an_answer_fits_its_schema_and_falls_with_time(model: Model, fresh: Path) -> None:
    answer = model.predict(fresh.with_name("000.jpg")).answer
    assert answer is not None
    assert fits(json.loads(json.dumps(answer)), model.servable.answer_schema)
    assert not fits({**answer, "band": "huge"}, model.servable.answer_schema)
    assert not fits({**answer, "survival": []}, model.servable.answer_schema)
    left = list(model.predict(fresh.with_name("000.jpg")).survival.values())
    assert len(left) == 4
    assert left == sorted(left, reverse=True)


def test_one_column_with_plus_signs_says_the_same(
    model: Model, table: Path, tiny_trunk: Path, around: Surroundings, fresh: Path
) -> None:
    options = replace(DAYS, target=("until",), event=None)
    other = fit_probe(table, trunk=str(tiny_trunk), options=options, around=around)
    photo = fresh.with_name("001.jpg")
    assert other.predict(photo).answer == model.predict(photo).answer
    again = evaluate(model.path, fresh, options=FitOptions(target=("until",))).targets["days"]
    assert again.test == evaluate(model.path, fresh, options=DAYS).targets["days"].test


def test_a_second_process_says_the_same(model: Model, fresh: Path, tmp_path: Path) -> None:
    again = load(model.save(tmp_path / "copy.topwork"))
    photo = fresh.with_name("003.jpg")
    assert again.predict(photo) == model.predict(photo)
    assert again.servable.targets == model.servable.targets


def test_evaluating_remembers_the_column_of_events(model: Model, table: Path) -> None:
    record = evaluate(model.path, table, options=FitOptions(target=("days",)))
    found, fitted = record.targets["days"], model.record.targets["days"]
    assert found.n_test == fitted.n_test
    for metric, one in fitted.test.items():
        assert found.test[metric].value == pytest.approx(one.value, rel=5e-3)
    assert found.baselines["same risk"]["concordance"].value == 0.5


def test_two_models_of_risk_are_compared(
    model: Model, fresh: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    other = fit_probe(
        write_followed(tmp_path / "other", 80, seed=2),
        tmp_path / "other.topwork",
        trunk=str(tiny_trunk),
        options=DAYS,
        around=around,
    )
    found = compare(model.path, other.path, fresh, options=FitOptions(target=("days",)), around=around)
    one = found.targets["days"]
    assert one.n_rows == 120
    alone = evaluate(other.path, fresh, options=DAYS).targets["days"].test
    assert one.b["concordance"].value == pytest.approx(alone["concordance"].value, rel=1e-3)
    for metric, gap in one.difference.items():
        assert gap.value == pytest.approx(one.a[metric].value - one.b[metric].value)
    assert one.n_both_right == one.n_both_wrong == 0
    assert one.disagreements[0].truth.startswith(("event at", "no event until"))
    assert {d.a.split(" at ")[0].split(" until ")[0] for d in one.disagreements} <= {"event", "no event"}


def test_the_proof_compares_risks_and_reports_speak_of_them(
    table: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    options = replace(DAYS, proof="standard", steps=40)
    model = topwork.fit(
        table, tmp_path / "days.topwork", trunk=str(tiny_trunk), options=options, budget=None, around=around
    )
    record = model.record
    result = record.targets["days"]
    rivals = {one.name: one for one in result.comparisons}
    assert {"same risk", "classical baseline", "from scratch"} <= set(rivals)
    for one in rivals.values():
        assert set(one.difference) == set(one.metrics) == {"concordance", "cox_loss"}
        gap = result.test["concordance"].value - one.metrics["concordance"].value
        assert one.difference["concordance"].value == pytest.approx(gap)
    titles = [section.title for section in result.sections]
    assert {
        "Kaplan-Meier curves of the bands of risk",
        "Bands of risk",
        "Most out of order",
        "What pretraining brought here",
        "Groups",
    } <= set(titles)
    assert any(title.startswith("Predicted against observed") for title in titles)
    assert not {"Labels that look wrong", "Typical of each class"} & set(titles)
    groups = next(one for one in result.sections if isinstance(one, Table) and one.title == "Groups")
    assert groups.columns[2] == "share of pairs in the wrong order, this model"
    growth = next(
        one for one in result.sections if isinstance(one, Chart) and one.title.startswith("How the score")
    )
    assert len(growth.series[0].points) >= 3
    assert not [note for note in record.notes if "could not be made" in note]
    assert {rung.loss_name for rung in record.rungs} == {"Cox loss"}
    gallery = next(one for one in result.sections if isinstance(one, Gallery))
    assert all("in the wrong order" in one.caption for one in gallery.pictures)
    page, text = render_html(record), render_markdown(record)
    for told in (page, text):
        assert "Cox loss" in told
        assert "log loss" not in told
        assert "giving every input the same risk" in told
        assert "the higher risk in" in told
        assert "most frequent class" not in told
    assert "infinitesimal jackknife" in page
    assert "bootstrap" not in page


@pytest.mark.slow
def test_texts_have_risks_and_a_baseline_of_words(tmp_path: Path, around: Surroundings) -> None:
    """Praise lasts; the second model goes on from the first."""
    trunk = str(write_tiny_text_trunk(tmp_path / "tiny-bert"))
    texts, labels = toy_texts(200)
    draw = np.random.default_rng(0)
    times = draw.exponential([10.0 if label == "praise" else 1.0 for label in labels])
    ends = draw.uniform(1, 10, len(texts))
    columns: dict[str, Column] = {
        "text": texts,
        "stay": np.minimum(times, ends).round(3),
        "left": (times <= ends).astype(int),
    }
    options = FitOptions(task="survival", target=("stay",), event="left", proof="quick")
    path = tmp_path / "stay.topwork"
    model = fit_probe(columns, path, trunk=trunk, options=options, around=around)
    result = model.record.targets["stay"]
    assert result.test["concordance"].low > 0.5
    compared = {one.name: one for one in result.comparisons}
    assert compared["classical baseline"].metrics["concordance"].value > 0.6
    (told,) = model.servable.explain([b"The parcel was broken."])
    assert told.value is not None
    assert told.value["answer"] == model.predict("The parcel was broken.").answer
    assert told.value["towards"] == "a higher risk"
    again = fit_probe(
        columns, options=replace(options, proof="none", onward=path), trunk=trunk, around=around
    )
    assert again.record.targets["stay"].test["concordance"].value > 0.5


def test_predictions_are_told_in_words_and_as_a_table(model: Model, fresh: Path) -> None:
    from topwork.cli.output import show_predictions

    said = model.predict(fresh.with_name("000.jpg"))
    out: dict[str, str] = {}
    for form in ("text", "jsonl", "csv"):
        stream = io.StringIO()
        with redirect_stdout(stream):
            show_predictions(model, [fresh.with_name("000.jpg")], form)
        out[form] = stream.getvalue()
    assert f"{said.band} risk, {said.risk:.4g} times the average   (" in out["text"]
    assert out["text"].count(" left at ") == 4
    assert json.loads(out["jsonl"])["risk"] == said.risk
    (row,) = csv.DictReader(out["csv"].splitlines())
    assert list(row) == ["input", "risk", "band", "survival", "in_domain", "error"]
    assert (float(row["risk"]), row["band"]) == (said.risk, said.band)
    assert {one["time"]: one["probability"] for one in json.loads(row["survival"])} == said.survival


def test_the_look_at_the_data_joins_events_too(table: Path) -> None:
    found = topwork.check(table, options=DAYS)
    assert found.obstacle is None
    assert found.findings.class_counts == {}
    assert found.split is not None
    assert "stratified" in found.split.method
    assert any("are events and" in line for line in found.findings.lines)
    without = topwork.check(table, options=replace(DAYS, event=None))
    assert any("240 are events and 0 are not; if some are not" in line for line in without.findings.lines)


def test_events_belong_to_survival(table: Path, around: Surroundings, tiny_trunk: Path) -> None:
    for task in ("regression", "classification"):
        with pytest.raises(UsageError, match="no target is of a task that knows events"):
            fit_probe(table, trunk=str(tiny_trunk), options=replace(DAYS, task=task), around=around)
    with pytest.raises(DataError, match="whether that is an event is not clear"):
        fit_probe(table, trunk=str(tiny_trunk), options=replace(DAYS, event="red"), around=around)


def test_an_estimate_is_told_of_times(table: Path, tiny_trunk: Path, around: Surroundings) -> None:
    found = topwork.estimate(table, trunk=str(tiny_trunk), options=DAYS, around=around)
    assert {one.name for one in found.forecasts} >= {"probe", "ladder"}
