"""The whole way with several targets of mixed kinds, of which a row may have some: fit, proof, answers."""

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
from topwork import DataError, FitOptions, Model, Surroundings, UsageError, evaluate, load
from topwork.cli.output import put_results, show_fit, show_predictions
from topwork.contracts import FitRecord, Table
from topwork.report.html import render_html
from topwork.report.markdown import render_markdown
from topwork.report.words import about_target
from topwork.steps.recording import WEIGHTS_OF_TARGETS
from toy_photos import write_mixed
from toy_texts import toy_texts

KINDS = {"price": "regression", "tags": "multilabel"}
MIXED = FitOptions(task=KINDS, target=("kind", "price", "tags"), proof="none")
METRICS = {"kind": "accuracy", "price": "r2", "tags": "macro_f1"}
N = 120


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mixed(tmp_path_factory.mktemp("mixed") / "data", N)


@pytest.fixture(scope="module")
def model(
    table: Path, tiny_trunk: Path, around: Surroundings, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    out = tmp_path_factory.mktemp("probed") / "mixed.topwork"
    exact = replace(around, engine="onnxruntime")
    return fit_probe(table, out, trunk=str(tiny_trunk), options=MIXED, around=exact)


@pytest.fixture(scope="module")
def climbed(
    table: Path, tiny_trunk: Path, around: Surroundings, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    out = tmp_path_factory.mktemp("climbed") / "mixed.topwork"
    options = replace(MIXED, proof="standard", steps=20)
    return topwork.fit(table, out, trunk=str(tiny_trunk), options=options, budget=None, around=around)


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


# --- the fit ------------------------------------------------------------------------------------------------


def test_every_target_is_of_its_kind_and_better_than_knowing_nothing(model: Model) -> None:
    results = model.record.targets
    assert {name: one.main_metric for name, one in results.items()} == METRICS
    for name, blind in (("kind", "majority"), ("price", "mean"), ("tags", "frequent labels")):
        result, metric = results[name], METRICS[name]
        assert result.test[metric].value > result.baselines[blind][metric].value
        # The intervals of numbers are themselves made from the rows that were held out.
        assert set(result.validation) == set(result.test) - {"coverage", "interval_width"}


def test_a_row_counts_for_the_targets_that_it_has(model: Model, table: Path) -> None:
    rows = rows_of(table)
    some = [row for row in rows if any(row[name] for name in METRICS)]
    assert 0 < len(rows) - len(some) < 5
    record = model.record
    assert record.data.n_used == len(some)
    assert [one.reason for one in record.data.rejected] == ["it has no label"] * (len(rows) - len(some))
    n_test = record.split.n_test
    assert n_test == round(0.2 * len(some))
    for name in METRICS:
        n_known = sum(bool(row[name]) for row in some)
        assert f"{name!r} is known of {n_known} of {len(some)} inputs" in " ".join(record.data.findings)
        # Each target has about its share of the test rows, though they were dealt once for all targets.
        assert record.targets[name].n_test == pytest.approx(0.2 * n_known, abs=3)
        assert (record.targets[name].n_test or 0) < n_test


def test_the_record_says_how_it_is_made_again(model: Model, table: Path) -> None:
    call = model.record.command
    assert f"target={MIXED.target!r}" in call
    assert f"task={KINDS!r}" in call
    assert FitOptions(target=MIXED.target, task=KINDS) == eval(
        call[call.index("topwork.FitOptions") : -1], {"topwork": topwork}
    )


def test_tasks_that_cannot_be_are_refused(table: Path, tiny_trunk: Path, around: Surroundings) -> None:
    for task, told in (({"prize": "regression"}, "'prize', which is no target"), ("numbers", "numbers")):
        options = replace(MIXED, task=task)
        with pytest.raises(UsageError, match=told):
            fit_probe(table, trunk=str(tiny_trunk), options=options, around=around)
    with pytest.raises(DataError, match="Target 'kind': Regression needs numbers"):
        options = replace(MIXED, task={**KINDS, "kind": "regression"})
        fit_probe(table, trunk=str(tiny_trunk), options=options, around=around)


def test_check_and_estimate_take_the_same_words(table: Path, tiny_trunk: Path, around: Surroundings) -> None:
    found = topwork.check(table, options=MIXED, around=around)
    assert found.obstacle is None
    assert set(found.findings.class_counts) == {"kind"}
    assert found.split is not None
    assert "stratified" in found.split.method
    assert [
        f.name for f in topwork.estimate(table, trunk=str(tiny_trunk), options=MIXED, around=around).forecasts
    ]


def test_a_target_that_hardly_any_row_has_takes_nothing_away(
    table: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    rows = rows_of(table)
    few = table.with_name("few.csv")
    known = [i for i, row in enumerate(rows) if row["price"]][:6]
    with few.open("w", encoding="utf-8", newline="") as stream:
        write = csv.DictWriter(stream, list(rows[0]))
        write.writeheader()
        write.writerows({**row, "price": row["price"] if i in known else ""} for i, row in enumerate(rows))
    options = replace(MIXED, proof="standard", steps=150)
    model = topwork.fit(
        few,
        tmp_path / "few.topwork",
        trunk=str(tiny_trunk),
        recipe="head",
        budget=None,
        options=options,
        around=around,
    )
    result = model.record.targets["price"]
    assert result.n_test is not None
    assert 1 <= result.n_test <= 2, "the split gave the rare target its share of the test"
    assert not [note for note in model.record.notes if "could not be made" in note]
    assert render_html(model.record)
    assert model.record.targets["kind"].test["accuracy"].value > 0.6


# --- choosing and the proof ------------------------------------------------------------------------------------


def test_rungs_are_told_in_losses_that_can_be_averaged(climbed: Model) -> None:
    rungs = climbed.record.rungs
    assert {rung.loss_name for rung in rungs} == {"relative loss"}
    for rung in rungs:
        assert rung.log_loss is not None
        assert 0 < rung.log_loss.value < 1, "better than knowing nothing"
        assert rung.validation == pytest.approx(1 - rung.log_loss.value, abs=1e-6)
    assert sum(rung.chosen for rung in rungs) == 1


def test_what_each_target_weighed_is_recorded_and_told(climbed: Model) -> None:
    probe, *trained = climbed.record.rungs
    assert not probe.weighs, "its heads are fitted one by one"
    assert trained
    for rung in trained:
        assert list(rung.weighs) == list(METRICS)
        assert np.mean(list(rung.weighs.values())) == pytest.approx(1)
        assert len(set(rung.weighs.values())) == len(METRICS)
    again = load(climbed.path).record
    assert [rung.weighs for rung in again.rungs] == [rung.weighs for rung in climbed.record.rungs]
    (table,) = [one for one in again.sections if one.title == WEIGHTS_OF_TARGETS]
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == list(METRICS)
    assert table.rows[0][1] == f"{trained[0].weighs['kind']:.2f}"
    assert WEIGHTS_OF_TARGETS in render_html(again)


def test_rivals_are_those_of_the_target_and_it_is_compared_with_itself_alone(climbed: Model) -> None:
    record = climbed.record
    assert not [note for note in record.notes if "could not be made" in note]
    assert record.proof_seconds["each target alone"] > 0
    too_short = any(note.startswith("From scratch:") for note in record.notes)
    for name, blind in (("kind", "majority"), ("price", "mean"), ("tags", "same labels")):
        result = record.targets[name]
        rivals = {one.name: one for one in result.comparisons}
        assert {blind, "classical baseline", "trained alone"} <= set(rivals)
        assert ("from scratch" in rivals) != too_short
        assert not {"majority", "mean", "same labels"} - {blind} & set(rivals)
        alone = rivals["trained alone"]
        metric = METRICS[name]
        gap = result.test[metric].value - alone.metrics[metric].value
        assert alone.difference[metric].value == pytest.approx(gap)
        assert "The recipe ladder for this target alone" in alone.how
        assert "together had as many steps as this one" in alone.how
        n_known = int(alone.how.split(" rows")[0].split()[-1])
        assert n_known < record.split.n_train + record.split.n_valid


def test_the_report_says_whether_training_together_helped(climbed: Model) -> None:
    page, text = render_html(climbed.record), render_markdown(climbed.record)
    for name in METRICS:
        told = [
            line for line in about_target(climbed.record, name) if "together with the other targets" in line
        ]
        assert len(told) == 1
        assert "a model trained for it alone" in told[0]
    for written in (page, text):
        assert "Together or alone" in written
        assert "validation skill" in written
        assert "relative loss" in written
        assert "units of what ignoring the input costs" in written


def test_a_report_of_one_target_says_nothing_of_several(fitted: Model) -> None:
    page = render_html(fitted.record)
    for words in ("Together or alone", "relative loss", "skill"):
        assert words not in page


def printed(record: FitRecord) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        put_results(record)
    return out.getvalue()


def test_the_terminal_shows_every_target(climbed: Model) -> None:
    told = printed(climbed.record)
    assert "kind: 2 classes, measured on" in told
    assert "price: regression, measured on" in told
    assert "trained alone" in told
    out = io.StringIO()
    with redirect_stdout(out):
        show_fit(climbed, as_json=False, seconds=1.0, quiet=True)
    assert "relative loss" in out.getvalue()


@pytest.mark.slow
def test_the_same_fit_twice_gives_the_same_heads(
    climbed: Model, table: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    options = replace(MIXED, steps=20)
    out = tmp_path / "again.topwork"
    again = topwork.fit(table, out, trunk=str(tiny_trunk), options=options, budget=None, around=around)
    one, other = (each.servable.bundle.graph().weights for each in (climbed, again))
    assert one.keys() == other.keys()
    for name, weight in one.items():
        assert np.array_equal(weight, other[name]), name


# --- answers ------------------------------------------------------------------------------------------------


def test_an_answer_holds_every_target_under_its_name(model: Model, table: Path) -> None:
    right, off = [], []
    for row in rows_of(table):
        said = model.predict(table.with_name(row["file"]))
        assert set(said.answer or {}) == {*METRICS, "in_domain"}
        assert said.of("tags").labels is not None
        if row["kind"]:
            right.append(said.of("kind").label == row["kind"])
        if row["price"]:
            off.append(abs((said.of("price").value or 0) - float(row["price"])))
    assert np.mean(right) > 0.75
    assert np.mean(off) < 6
    with pytest.raises(UsageError, match="no target 'colour'; it has kind, price, tags"):
        said.of("colour")


def test_evaluating_gives_the_metrics_of_the_test_again(
    model: Model, table: Path, around: Surroundings
) -> None:
    record = evaluate(model.path, table, options=MIXED, around=replace(around, engine="onnxruntime"))
    for name, one in model.record.targets.items():
        assert record.targets[name].n_test == one.n_test
        for metric, value in one.test.items():
            assert record.targets[name].test[metric].value == pytest.approx(value.value, abs=1e-5)


@pytest.mark.parametrize("options", [MIXED, FitOptions()], ids=["all columns", "its column"])
def test_evaluating_some_needs_and_reports_no_other(
    model: Model, table: Path, around: Surroundings, tmp_path: Path, options: FitOptions
) -> None:
    exact = replace(around, engine="onnxruntime")
    page = tmp_path / "price.md"
    record = evaluate(model.path, table, report=page, only="price", options=options, around=exact)
    assert list(record.targets) == ["price"]
    whole = model.record.targets["price"].test["r2"].value
    assert record.targets["price"].test["r2"].value == pytest.approx(whole, abs=1e-5)
    assert "only='price'" in record.command
    assert "kind" not in record.data.class_counts
    assert "price" in page.read_text(encoding="utf-8")


def test_evaluating_some_needs_no_labels_of_the_others(model: Model, table: Path) -> None:
    rows, bare = rows_of(table), table.with_name("only_kind.csv")
    with bare.open("w", encoding="utf-8", newline="") as stream:
        write = csv.DictWriter(stream, ["file", "kind"], extrasaction="ignore")
        write.writeheader()
        write.writerows(rows)
    assert list(evaluate(model.path, bare, only=["kind"]).targets) == ["kind"]
    with pytest.raises(UsageError, match="no target 'colour'; it has kind, price, tags"):
        evaluate(model.path, bare, only="colour")
    with pytest.raises(DataError, match="or measure some with --only"):
        evaluate(model.path, bare)


def test_evaluating_leaves_out_a_target_that_no_row_has(model: Model, table: Path) -> None:
    bare = table.with_name("bare.csv")
    rows = rows_of(table)
    with bare.open("w", encoding="utf-8", newline="") as stream:
        write = csv.DictWriter(stream, list(rows[0]))
        write.writeheader()
        write.writerows({**row, "price": ""} for row in rows)
    record = evaluate(model.path, bare, options=MIXED)
    assert list(record.targets) == ["kind", "tags"]
    assert any("price: no row has a label that the bundle knows" in note for note in record.split.notes)


@pytest.mark.parametrize("form", ["text", "jsonl"])
def test_predictions_are_told_target_by_target(model: Model, table: Path, form: str) -> None:
    photo = table.with_name("003.jpg")
    said, out = model.predict(photo), io.StringIO()
    with redirect_stdout(out):
        show_predictions(model, [photo], form)  # type: ignore[arg-type]
    if form == "jsonl":
        assert json.loads(out.getvalue()) == {"input": str(photo), **(said.answer or {})}
    else:
        assert f"\tkind: {said.of('kind').label} " in out.getvalue()
        assert "; price: " in out.getvalue()
        assert "; tags: " in out.getvalue()


# --- some of the targets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METRICS)
def test_a_model_of_one_target_says_the_same_and_computes_nothing_else(
    model: Model, table: Path, name: str
) -> None:
    alone = load(model.path, only=name)
    photo = table.with_name("004.jpg")
    assert alone.predict(photo).answer == model.predict(photo).of(name).answer
    of_alone, of_all = alone.servable.answer_schema["properties"], model.servable.answer_schema["properties"]
    assert of_alone == {**of_all[name]["properties"], "in_domain": of_all["in_domain"]}  # type: ignore[index, call-overload, dict-item]
    assert set(alone.servable.about["targets"]) == {name}  # type: ignore[arg-type]
    assert set(alone.record.targets) == {name}
    tensor = alone.servable.bundle.goldens()[0].tensor[None]
    assert set(alone.servable.engine.run(tensor)) == {"features", f"scores.{name}"}
    heads = {one for one in alone.servable.bundle.graph().weights if one.startswith("heads.")}
    assert heads == {f"heads.{name}.weight", f"heads.{name}.bias"}


def test_two_of_three_answer_under_their_names(model: Model, table: Path) -> None:
    two = model.only("tags", "kind")
    photo = table.with_name("004.jpg")
    said, whole = two.predict(photo).answer, model.predict(photo).answer
    assert list(said or {}) == ["kind", "tags", "in_domain"], "in the order of the fit"
    assert said == {name: (whole or {})[name] for name in ("kind", "tags", "in_domain")}


def test_targets_that_are_not_there_are_refused_with_those_that_are(model: Model) -> None:
    with pytest.raises(UsageError, match="no target 'colour'; it has kind, price, tags"):
        load(model.path, only="colour")
    with pytest.raises(UsageError, match="no target 'colour'; it has kind, price, tags"):
        model.only("kind", "colour")
    with pytest.raises(UsageError, match="Name one of kind, price, tags"):
        model.only()


def test_a_smaller_bundle_is_kept_whole_in_itself(climbed: Model, table: Path, tmp_path: Path) -> None:
    small = topwork.keep(climbed.path, tmp_path / "small.topwork", ["price"])
    assert small.path.stat().st_size < climbed.path.stat().st_size
    again = load(small.path)
    photo = table.with_name("005.jpg")
    assert again.predict(photo).answer == climbed.predict(photo).of("price").answer
    bundle = again.servable.bundle
    assert list(bundle.manifest.targets) == ["price"]
    assert bundle.manifest.outputs == ("features", "scores.price")
    assert not [name for name in bundle.graph().weights if name.startswith(("heads.kind", "heads.tags"))]
    assert not [name for name in bundle.statistics() if name.startswith(("kind.", "tags."))]
    assert "price.values" in bundle.statistics()
    assert bundle.sides() == climbed.servable.bundle.sides()
    assert again.record.targets["price"] == climbed.record.targets["price"]
    assert any("left out: kind, tags" in note for note in again.record.notes)
    options = replace(MIXED, target=("price",), task="regression")
    found = evaluate(small.path, table, options=options).targets["price"].test["r2"].value
    assert found == pytest.approx(climbed.record.targets["price"].test["r2"].value, rel=0.02)


def test_a_bundle_is_not_kept_over_itself(climbed: Model) -> None:
    with pytest.raises(UsageError, match="would be overwritten"):
        topwork.keep(climbed.path, climbed.path, "kind")


# --- texts --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_texts_have_several_targets_too(tmp_path: Path, around: Surroundings) -> None:
    """Nothing of all this knows what an input is: praise or complaint, how long, and whether it names a parcel."""
    trunk = str(write_tiny_text_trunk(tmp_path / "tiny-bert"))
    texts, labels = toy_texts(160)
    columns = {
        "text": texts,
        "tone": [label if i % 4 else "" for i, label in enumerate(labels)],
        "length": [str(len(text)) if i % 3 else "" for i, text in enumerate(texts)],
        "tags": [f"{'parcel' * ('parcel' in one)};{'chair' * ('chair' in one)}" for one in texts],
    }
    options = FitOptions(
        task={"length": "regression", "tags": "multilabel"},
        target=("tone", "length", "tags"),
        proof="standard",
        steps=200,
    )
    model = topwork.fit(
        columns,
        tmp_path / "post.topwork",
        trunk=trunk,
        recipe="head",
        budget=None,
        options=options,
        around=around,
    )
    results = model.record.targets
    assert {name: one.task for name, one in results.items()} == {
        "tone": "classification",
        "length": "regression",
        "tags": "multilabel",
    }
    assert results["tone"].test["accuracy"].value > 0.7
    for one in results.values():
        assert {"classical baseline", "trained alone"} <= {rival.name for rival in one.comparisons}
    assert not [note for note in model.record.notes if "could not be made" in note]
    tone = model.only("tone")
    fresh, wanted = toy_texts(60, seed=9)
    said = tone.predict(fresh)
    assert np.mean([one.label == label for one, label in zip(said, wanted, strict=True)]) > 0.7
    (told,) = model.servable.explain([b"The parcel was broken."])
    assert set(told.value or {}) == {"tone", "length", "tags"}
    (told,) = tone.servable.explain([b"The parcel was broken."])
    assert set(told.value or {}) == {"answer", "towards", "pieces"}
