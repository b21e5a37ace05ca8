"""What the text benchmarks draw and compute; nothing here is timed."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from markdown_blocks import ROOT
from records import plain_record
from topwork.contracts import Estimate

sys.path.append(str(ROOT))  # benchmarks are no part of the package

from benchmarks.fewshot import Learner, Round, few_of_each, goal_of, table_of
from benchmarks.imdb import least_lead
from benchmarks.learning import Moment
from benchmarks.recipes import Fits
from benchmarks.recipes import goal_of as recipe_goal
from benchmarks.recipes import table_of as recipe_table
from benchmarks.text_splits import TextSplit, drawn

ROWS = [(f"text {number}", "yes" if number % 3 else "no") for number in range(90)]


def split(seed: int = 0) -> TextSplit:
    return drawn("some", ROWS, seed, n_test=20, n_valid=10, n_train=60)


def test_sides_share_no_text_and_another_seed_draws_others() -> None:
    one = split()
    sides = one.test, one.valid, one.train
    assert [len(side) for side in sides] == [20, 10, 60]
    assert len({row for side in sides for row in side}) == 90
    assert split() == one
    assert split(1).test != one.test
    assert one.labels == ("no", "yes")
    assert one.truth["3"] == one.test[3][1]


def test_more_texts_than_there_are_are_refused() -> None:
    with pytest.raises(ValueError, match="some has 90 texts; 91 were asked for"):
        drawn("some", ROWS, 0, n_test=20, n_valid=10, n_train=61)


def test_a_split_is_written_for_both_sides(tmp_path: Path) -> None:
    one = split()
    read = json.loads(one.write(tmp_path).read_text(encoding="utf-8"))
    assert [tuple(row) for row in read["train"]] == list(one.train)
    with one.write_table(tmp_path).open(encoding="utf-8", newline="") as stream:
        rows = [(row["text"], row["label"], row["split"]) for row in csv.DictReader(stream)]
    assert [(text, label) for text, label, side in rows if side == "valid"] == list(one.valid)
    assert len(rows) == 90


def test_a_few_of_each_class_are_the_same_number_and_the_first_ones() -> None:
    few = few_of_each(split(), 4)
    assert sorted(label for _, label in few.train) == ["no"] * 4 + ["yes"] * 4
    assert set(few.train) < set(few_of_each(split(), 8).train)
    assert few.test == split().test
    assert few.name != split().name


def test_the_least_lead_is_over_all_moments_of_both_sides() -> None:
    ours = (Moment(10, 0.8), Moment(20, 0.9))
    assert least_lead(ours, (Moment(15, 0.7), Moment(30, 0.85))) == pytest.approx(0.05)
    assert least_lead(ours, (Moment(5, 0.6), Moment(30, 0.7))) == pytest.approx(-0.6), (
        "they had a model sooner"
    )
    assert least_lead(ours, (Moment(19, 0.85),)) == pytest.approx(-0.05)


def test_of_ours_the_last_model_counts_that_stands_after_a_tenth_of_their_time() -> None:
    ours = {
        "probe": Learner((0.6, 0.7, 0.8), (0.1, 0.1, 2.0)),
        "contrast": Learner((0.9, 0.9, 0.9), (1.0, 2.0, 3.0)),
    }
    one = Round("imdb", 8, "as it comes", ours, Learner((0.8, 0.8, 0.8), (10.0, 10.0, 10.0)))
    assert one.in_time == (0.9, 0.7, 0.0)
    goal = goal_of(one)
    assert goal.measured.median == pytest.approx(100 * (0.1 - 0.1 - 0.8) / 3)
    assert not goal.is_met
    (row,) = table_of([one]).rows
    assert row[:4] == ("imdb, 8 of each class", "as it comes", "3", "70.0")
    assert len(row) == len(table_of([one]).head)


def fits_of(recipe: str, *accuracies: float, note: str = "") -> Fits:
    record = replace(plain_record(), notes=(note,))
    [(name, result)] = record.targets.items()
    losses = {"log_loss": Estimate(0.5, 0.4, 0.6)}
    records = tuple(
        replace(record, targets={name: replace(result, test={"accuracy": Estimate(one, 0, 1), **losses})})
        for one in accuracies
    )
    return Fits(recipe, records, tuple(10.0 for _ in accuracies))


def test_recipes_are_held_against_the_probe_and_the_default_against_the_best_other() -> None:
    note = "Not the rule itself: its 1,500 steps are scaled to 12."
    fits = (
        fits_of("probe", 0.7, 0.6),
        fits_of("ladder", 0.8, 0.65),
        fits_of("hyperrule", 0.75, 0.78, note=note),
    )
    goal = recipe_goal("some", fits)
    assert goal.measured.median == pytest.approx(-4.0)
    assert not goal.is_met
    rows = recipe_table("some", fits).rows
    assert [row[0] for row in rows] == ["probe", "**ladder**", "hyperrule, scaled down to 12 of 1,500 steps"]
    assert [row[3] for row in rows] == ["", "7.5 (5.0 to 10.0)", "11.5 (5.0 to 18.0)"]
