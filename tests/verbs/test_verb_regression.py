"""The whole way with numbers: from a table to a model whose answers have intervals, its proof and its comparisons."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import topwork
from quick import fit_probe
from tiny_text_trunk import write_tiny_text_trunk
from topwork import DataError, FitOptions, Model, Surroundings, UsageError, compare, evaluate, load
from topwork.bundle.card import render_card
from topwork.contracts import Chart, Estimate, Gallery, Table
from topwork.progress import Lines
from topwork.report.html import render_html
from topwork.report.markdown import render_markdown
from toy_photos import write_measured
from toy_texts import toy_texts

NUMBER = FitOptions(task="regression", target=("price",), proof="none")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_measured(tmp_path_factory.mktemp("measured") / "data", 100)


@pytest.fixture(scope="module")
def model(
    table: Path, tiny_trunk: Path, around: Surroundings, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    out = tmp_path_factory.mktemp("priced") / "price.topwork"
    return fit_probe(table, out, trunk=str(tiny_trunk), options=NUMBER, around=around)


@pytest.fixture(scope="module")
def climbed(
    table: Path, tiny_trunk: Path, around: Surroundings, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    out = tmp_path_factory.mktemp("climbed") / "price.topwork"
    options = FitOptions(task="regression", target=("price",), proof="standard", steps=40)
    return topwork.fit(table, out, trunk=str(tiny_trunk), options=options, budget=None, around=around)


def test_the_model_sees_how_red_a_picture_is(model: Model) -> None:
    result = model.record.targets["price"]
    assert (result.task, result.labels, result.main_metric) == ("regression", (), "r2")
    assert result.test["r2"].low > 0
    assert result.test["rmse"].value < result.baselines["mean"]["rmse"].value
    assert result.baselines.keys() == {"mean", "median"}
    assert 0.6 < result.test["coverage"].value <= 1
    assert model.record.data.class_counts == {}


def test_an_answer_is_a_number_within_its_interval(model: Model, table: Path) -> None:
    with table.open(encoding="utf-8") as stream:
        true = {row["file"]: float(row["price"]) for row in csv.DictReader(stream)}
    said = {name: model.predict(table.with_name(name)) for name in true}
    width = model.record.targets["price"].test["interval_width"].value
    for one in said.values():
        assert one.low is not None
        assert one.high is not None
        assert one.value == pytest.approx((one.low + one.high) / 2)
        assert one.high - one.low == pytest.approx(width)
        assert one.label is None
    assert np.corrcoef([true[name] for name in true], [said[name].value for name in true])[0, 1] > 0.7
    inside = [(said[name].low or 0) <= true[name] <= (said[name].high or 0) for name in true]
    assert np.mean(inside) > 0.8
    schema = model.servable.answer_schema
    assert set(schema["properties"]) == {"value", "low", "high", "in_domain"}  # type: ignore[arg-type]
    assert schema["description"] == "90 % of new values lie between low and high."


def test_a_second_process_says_the_same(model: Model, table: Path, tmp_path: Path) -> None:
    again = load(model.save(tmp_path / "copy.topwork"))
    photo = table.with_name("003.jpg")
    assert again.predict(photo) == model.predict(photo)
    assert again.servable.targets == model.servable.targets


def test_evaluating_gives_the_metrics_of_the_test_again(model: Model, table: Path) -> None:
    record = evaluate(model.path, table, options=NUMBER)
    found, fitted = record.targets["price"], model.record.targets["price"]
    assert found.n_test == fitted.n_test == 20
    for metric, one in fitted.test.items():
        assert found.test[metric].value == pytest.approx(one.value, rel=5e-3)
    assert found.baselines["mean"]["r2"].value == pytest.approx(fitted.baselines["mean"]["r2"].value)


def test_the_proof_compares_numbers_and_leaves_out_what_is_about_classes(climbed: Model) -> None:
    record = climbed.record
    result = record.targets["price"]
    rivals = {one.name: one for one in result.comparisons}
    assert {"mean", "classical baseline", "from scratch"} <= set(rivals)
    for one in rivals.values():
        assert set(one.difference) == set(one.metrics) == {"r2", "rmse", "mae"}
        gap = result.test["r2"].value - one.metrics["r2"].value
        assert one.difference["r2"].value == pytest.approx(gap)
    assert rivals["mean"].metrics["r2"].value == pytest.approx(result.baselines["mean"]["r2"].value)
    titles = [section.title for section in result.sections]
    assert {
        "Predicted against true",
        "Residuals",
        "Largest mistakes",
        "What pretraining brought here",
    } <= set(titles)
    assert not {"Labels that look wrong", "Typical of each class"} & set(titles)
    groups = next(one for one in result.sections if isinstance(one, Table) and one.title == "Groups")
    assert groups.columns[2] == "MAE, this model"
    assert all(isinstance(row[2], Estimate) and 0 < row[2].value < 30 for row in groups.rows)
    growth = next(
        one for one in result.sections if isinstance(one, Chart) and one.title.startswith("How the score")
    )
    (measured,) = growth.series
    assert measured.points[-1].y > measured.points[0].y
    assert result.growth is None
    assert climbed.labels is None
    assert not [note for note in record.notes if "could not be made" in note]
    assert {rung.loss_name for rung in record.rungs} == {"squared error"}
    assert record.rungs[0].log_loss is not None


def test_mistakes_are_shown_with_both_numbers(model: Model) -> None:
    sections = model.record.targets["price"].sections
    gallery = next(one for one in sections if isinstance(one, Gallery))
    assert gallery.title == "Largest mistakes"
    off = [abs(float(one.truth) - float(one.predicted)) for one in gallery.pictures]
    assert off == sorted(off, reverse=True)
    chart = next(one for one in sections if isinstance(one, Chart))
    assert len(chart.series[1].points) == 20


def test_reports_speak_of_numbers(climbed: Model) -> None:
    page, text = render_html(climbed.record), render_markdown(climbed.record)
    for told in (page, text):
        assert "R²" in told
        assert "squared error" in told
        assert "log loss" not in told
        assert "always answering the mean" in told
        assert "most frequent class" not in told
        assert "off on average" in told
    assert "Student’s for errors" in page
    assert "bootstrap" not in page
    card = render_card("price", climbed.record)
    assert "rmse" in card
    assert "0 labels" not in card


def test_two_models_of_numbers_are_compared_in_one_unit(
    model: Model, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    other = fit_probe(
        write_measured(tmp_path / "other", 60, seed=2),
        tmp_path / "other.topwork",
        trunk=str(tiny_trunk),
        options=NUMBER,
        around=around,
    )
    fresh = write_measured(tmp_path / "fresh", 40, seed=3)
    found = compare(model.path, other.path, fresh, options=NUMBER, around=around)
    one = found.targets["price"]
    assert one.n_rows == 40
    alone = evaluate(other.path, fresh, options=NUMBER).targets["price"].test
    assert one.b["rmse"].value == pytest.approx(alone["rmse"].value, rel=1e-3)
    assert one.difference["mae"].value == pytest.approx(one.a["mae"].value - one.b["mae"].value)
    assert one.n_both_right == one.n_both_wrong == 0
    apart = [abs(float(d.a) - float(d.b)) for d in one.disagreements]
    assert apart == pytest.approx(sorted(apart, reverse=True))  # told as decimals, which differ by a last bit
    assert len(apart) == one.n_disagreements == 40


def test_text_labels_are_no_numbers(photos: Path, tiny_trunk: Path, around: Surroundings) -> None:
    with pytest.raises(DataError, match=r"60 of 60 values are none, such as 'blue', 'green', 'red': labels"):
        fit_probe(photos, trunk=str(tiny_trunk), options=FitOptions(task="regression"), around=around)


def test_a_decimal_comma_is_told(table: Path, tiny_trunk: Path, around: Surroundings) -> None:
    with table.open(encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    bad = table.with_name("comma.csv")
    with bad.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(
            [rows[0], *([name, price.replace(".", ",")] for name, price in rows[1:])]
        )
    with pytest.raises(DataError, match="a decimal comma"):
        fit_probe(bad, trunk=str(tiny_trunk), options=NUMBER, around=around)


def test_numbers_taken_for_labels_are_told_of_the_task(
    table: Path, around: Surroundings, tiny_trunk: Path
) -> None:
    said = io.StringIO()
    telling = replace(around, progress=Lines(said))
    options = FitOptions(target=("price",), proof="none")
    with pytest.raises(DataError, match="fewer than two labels"):
        fit_probe(table, trunk=str(tiny_trunk), options=options, around=telling)
    assert "100 different numbers" in said.getvalue()
    assert "`--task regression`" in said.getvalue()
    assert "inputs can be used" not in said.getvalue(), "It was refused only once all inputs had been read."
    fit_probe(
        table,
        trunk=str(tiny_trunk),
        options=NUMBER,
        around=replace(around, progress=Lines(said := io.StringIO())),
    )
    assert "--task" not in said.getvalue()


def test_a_cost_of_errors_is_refused(table: Path, tiny_trunk: Path, around: Surroundings) -> None:
    options = replace(NUMBER, error_cost=3.0)
    with pytest.raises(UsageError, match="no answers that are right or wrong"):
        fit_probe(table, trunk=str(tiny_trunk), options=options, around=around)


def test_several_numbers_are_predicted_at_once_though_some_are_missing(
    table: Path, tiny_trunk: Path, around: Surroundings
) -> None:
    with table.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    both = table.with_name("both.csv")
    with both.open("w", encoding="utf-8", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["file", "price", "kilos"])
        for i, row in enumerate(rows):
            weight = "" if i % 4 == 0 else f"{1000 - 10 * float(row['price']):.1f}"
            out.writerow([row["file"], "" if i == 1 else row["price"], weight])
    options = replace(NUMBER, target=("price", "kilos"))
    model = fit_probe(both, trunk=str(tiny_trunk), options=options, around=around)
    price, kilos = (model.record.targets[name] for name in ("price", "kilos"))
    assert price.n_test is not None
    assert kilos.n_test is not None
    assert kilos.n_test < price.n_test
    assert kilos.test["rmse"].value == pytest.approx(10 * price.test["rmse"].value, rel=0.5)
    answer = model.predict(both.with_name("002.jpg")).answer
    assert answer is not None
    assert set(answer) == {"price", "kilos", "in_domain"}
    assert set(answer["kilos"]) == {"value", "low", "high"}  # type: ignore[arg-type]


def test_the_look_at_the_data_does_not_count_numbers(table: Path) -> None:
    found = topwork.check(table, options=NUMBER)
    assert found.obstacle is None
    assert found.findings.class_counts == {}
    assert not [line for line in found.findings.lines if "class" in line]
    assert found.split is not None
    assert "at random" in found.split.method


def test_texts_are_rated(tmp_path: Path, around: Surroundings) -> None:
    """Praise is worth more than complaint; the second model goes on from the first."""
    trunk = str(write_tiny_text_trunk(tmp_path / "tiny-bert"))
    texts, labels = toy_texts(160)
    draw = np.random.default_rng(0)
    stars = [
        round(float(3 + (1.5 if label == "praise" else -1.5) + draw.normal(0, 0.2)), 3) for label in labels
    ]
    options = FitOptions(task="regression", proof="quick")
    model = fit_probe(
        {"text": texts, "label": stars},
        tmp_path / "stars.topwork",
        trunk=trunk,
        options=options,
        around=around,
    )
    result = model.record.targets["label"]
    assert result.test["r2"].value > 0.5
    compared = {one.name: one for one in result.comparisons}
    assert "words and pairs of words" in compared["classical baseline"].how
    assert compared["classical baseline"].metrics["r2"].value > 0.5
    fresh, wanted = toy_texts(20, seed=9)
    said = [one.value or 0.0 for one in model.predict(fresh)]
    assert (
        np.mean([(value > 3) == (label == "praise") for value, label in zip(said, wanted, strict=True)]) > 0.7
    )
    (told,) = model.servable.explain([b"The parcel was broken."])
    assert told.value is not None
    assert told.value["answer"] == model.predict("The parcel was broken.").answer
    assert told.value["towards"] == "a higher value"


@pytest.fixture
def lines(model: Model, table: Path) -> Callable[..., list[str]]:
    """Give the standard output of `topwork predict` on three photos."""
    from topwork.cli.output import show_predictions

    def give(form: str) -> list[str]:
        out = io.StringIO()
        with redirect_stdout(out):
            show_predictions(model, [table.with_name(f"00{i}.jpg") for i in range(3)], form)  # type: ignore[arg-type]
        return out.getvalue().splitlines()

    return give


def test_predictions_are_told_with_their_interval(
    lines: Callable[..., list[str]], model: Model, table: Path
) -> None:
    said = model.predict(table.with_name("000.jpg"))
    name, answer = lines("text")[0].split("\t")
    assert name == str(table.with_name("000.jpg"))
    assert answer == f"{said.value:.4g}   ({said.low:.4g} to {said.high:.4g})"
    first, *_ = (json.loads(line) for line in lines("jsonl"))
    told = {"value": said.value, "low": said.low, "high": said.high, "in_domain": said.in_domain}
    assert first == {"input": name, **told}
    rows = list(csv.DictReader(lines("csv")))
    assert len(rows) == 3
    assert list(rows[0]) == ["input", "value", "low", "high", "in_domain", "error"]
    assert rows[0]["in_domain"] == json.dumps(said.in_domain)
    assert float(rows[0]["value"]) == said.value
    assert rows[0]["error"] == ""


def test_only_rows_that_were_held_out_count_in_validation(
    table: Path, tiny_trunk: Path, around: Surroundings
) -> None:
    """With sides of the data's own only the validation side is held out; the training side says nothing of it."""
    with table.open(encoding="utf-8") as stream:
        head, *rows = csv.reader(stream)
    sides = ("train", "train", "valid", "test")
    sided = table.with_name("sided.csv")
    with sided.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(
            [[*head, "split"], *([*row, sides[i % 4]] for i, row in enumerate(rows))]
        )
    model = fit_probe(sided, trunk=str(tiny_trunk), options=NUMBER, around=around)
    assert model.record.split.n_valid == 25
    assert model.record.targets["price"].validation["r2"].value > 0.5
