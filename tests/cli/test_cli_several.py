"""Several targets on the command line: tasks of their own, answers for some, a smaller bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Told
from quick import PROBE_WORDS
from topwork import FitOptions, UsageError, load
from topwork.cli.sources import asked_again, tasks_of
from toy_photos import write_mixed

Command = Callable[..., Told]
WORDS = ("--target", "kind", "--target", "price", "--task", "price=regression")


@pytest.fixture
def mixed(topwork: Command, tiny_trunk: Path) -> Path:
    table = write_mixed(Path("photos"), 80)
    told = topwork("fit", table, "--out", "mixed", "--trunk", tiny_trunk, *PROBE_WORDS, *WORDS, "--quiet")
    assert told.status == 0, told.err
    assert "kind: 2 classes" in told.out
    assert "price: regression" in told.out
    return Path("mixed.topwork")


def test_words_are_one_task_for_all_or_one_for_each() -> None:
    assert tasks_of(None) == tasks_of([]) == "classification"
    assert tasks_of(["ordinal"]) == "ordinal"
    assert tasks_of(["a=b=regression", "kind=ordinal"]) == {"a=b": "regression", "kind": "ordinal"}
    for words in (["ordinal", "regression"], ["ordinal", "age=regression"]):
        with pytest.raises(UsageError, match="--task is given 2 times, and as 'ordinal' for no target"):
            tasks_of(words)


def test_what_was_asked_is_asked_again_in_the_same_words() -> None:
    assert asked_again(FitOptions()) == ""
    assert asked_again(FitOptions(task="regression", target=("a b",))) == " --target 'a b' --task regression"
    assert asked_again(FitOptions(task={"age": "regression"})) == " --task age=regression"
    read = FitOptions(input="a text", group="user", time="day", layout="table")
    assert asked_again(read) == " --input 'a text' --group user --time day --layout table"


def test_a_target_that_is_not_there_is_told(topwork: Command, tiny_trunk: Path) -> None:
    table = write_mixed(Path("photos"), 20)
    told = topwork("fit", table, "--trunk", tiny_trunk, *WORDS, "--task", "prize=regression")
    assert told.status == 1
    assert "'prize', which is no target; the targets are kind, price" in told.err


def test_predict_answers_for_some(topwork: Command, mixed: Path) -> None:
    photo = Path("photos/007.jpg")
    both = topwork("predict", mixed, photo).out
    assert "\tkind: " in both
    assert "; price: " in both
    alone = topwork("predict", mixed, photo, "--only", "price", "--json").json
    assert set(alone) == {"input", "value", "low", "high", "in_domain"}
    kind = topwork("predict", mixed, photo, "--only", "kind").out.strip().split("\t")[1]
    assert f"\tkind: {kind}; price: " in both
    table = topwork("predict", mixed, photo, "--only", "price", "--format", "csv")
    assert table.out.splitlines()[0] == "input,value,low,high,in_domain,error"
    several = topwork("predict", mixed, photo, "--format", "csv")
    assert several.status == 1
    assert "Name one with --only" in several.err
    wrong = topwork("predict", mixed, photo, "--only", "colour")
    assert wrong.status == 1
    assert "it has kind, price" in wrong.err


def test_evaluate_measures_some(topwork: Command, mixed: Path) -> None:
    told = topwork("evaluate", mixed, "photos/mixed.csv", "--only", "price", "--json")
    assert told.status == 0, told.err
    assert list(told.json["targets"]) == ["price"]
    assert topwork("evaluate", mixed, "photos/mixed.csv", "--only", "colour").status == 1


def test_keep_writes_a_smaller_bundle(topwork: Command, mixed: Path) -> None:
    told = topwork("bundle", "keep", mixed, "small.topwork", "--only", "price")
    assert told.status == 0, told.err
    assert "price: regression" in told.out
    assert "kind" not in told.out.partition("price: regression")[2]
    assert list(load("small.topwork").servable.targets) == ["price"]
    shown = json.loads(topwork("bundle", "inspect", "small.topwork", "--json").out)
    assert list(shown["targets"]) == ["price"]
    assert topwork("bundle", "keep", mixed, "other.topwork").status == 2


def test_the_next_step_of_a_look_ahead_repeats_what_is_predicted(topwork: Command, tiny_trunk: Path) -> None:
    table = write_mixed(Path("photos"), 60)
    told = topwork("estimate", table, "--trunk", tiny_trunk, *WORDS)
    assert told.status == 0, told.err
    assert "--target kind --target price --task price=regression --budget TIME" in told.err
