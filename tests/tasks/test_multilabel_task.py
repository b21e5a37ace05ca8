"""Several labels at once: read from one cell, given from a probability that is each label's own."""

from __future__ import annotations

import numpy as np
import pytest

from topwork.contracts import Array, Table
from topwork.errors import BundleError, DataError
from topwork.tasks.multilabel import MULTILABEL, MultilabelTarget

RAW = ["round;red", "red", ";", None, "square; red", ""]
TARGET = MULTILABEL.learn(RAW)


def at(*cuts: float) -> MultilabelTarget:
    return MultilabelTarget(TARGET.labels, ";", cuts)


def test_truth_has_a_column_for_each_label_and_knows_none_from_missing() -> None:
    assert TARGET.labels == ("red", "round", "square")
    none, missing = [0, 0, 0], [-1, -1, -1]
    assert TARGET.encode(RAW).tolist() == [[1, 1, 0], [1, 0, 0], none, missing, [1, 0, 1], missing]
    assert "separated by ';'" in TARGET.understood[0]
    assert "JSON lists" in MULTILABEL.learn(['["a"]', "[]"]).understood[0]


def test_a_label_that_training_never_saw_is_left_out_and_a_row_of_such_alone_is_missing() -> None:
    assert TARGET.encode(["blue;red", "blue"]).tolist() == [[1, 0, 0], [-1, -1, -1]]


def test_an_answer_gives_the_labels_above_their_cuts_likeliest_first() -> None:
    scores = np.array([0.5, -0.5, 2.0])
    found = at(0.0, 0.0, 0.0).answer(scores)
    assert found["labels"] == ["square", "red"]
    assert list(found["probabilities"]) == ["square", "red", "round"]  # type: ignore[arg-type]
    assert found["probabilities"]["red"] == pytest.approx(1 / (1 + np.exp(-0.5)))  # type: ignore[index, call-overload]
    assert at(1.0, -1.0, 3.0).answer(scores)["labels"] == ["round"]
    assert at(9.0, 9.0, 9.0).answer(scores)["labels"] == []


def test_of_many_labels_the_likeliest_are_told_and_those_that_are_given() -> None:
    labels = tuple(f"l{i:02}" for i in range(40))
    target = MultilabelTarget(labels, ",", (*(99.0 for _ in labels[:-1]), -99.0))
    found = target.answer(np.arange(40.0)[::-1])
    assert found["labels"] == ["l39"]
    assert [*found["probabilities"]] == [*labels[:25], "l39"]  # type: ignore[misc]
    assert "additionalProperties" in target.answer_schema()["properties"]["probabilities"]  # type: ignore[operator, index, call-overload]


def test_cuts_come_from_held_out_rows() -> None:
    truth = np.array([[1, 0, 1], [1, 1, 0], [0, 0, 0], [-1, -1, -1], [0, 1, 1]], np.int8)
    held_out = np.array([[-2.0, -9, 1], [-2, 5, -1], [-4, 3, -1], [9, 9, 9], [np.nan] * 3])
    found = TARGET.calibrated(truth, held_out)
    assert found.cuts == (-3.0, 4.0, 0.0)
    assert found.said(held_out[:3]).tolist() == truth[:3].tolist()
    assert found.evaluate(truth[:3], held_out[:3], 0)["exact_match"].value == 1
    assert MULTILABEL.restore(found.state()) == found


def test_the_baseline_always_gives_the_labels_of_more_than_half_of_the_rows() -> None:
    truth = TARGET.encode(["red;round", "red", "square;round"])
    found = TARGET.baselines(truth, truth, 0)["frequent labels"]
    assert found["macro_f1"].value == pytest.approx((0.8 + 0.8 + 0) / 3)
    assert found["hamming_loss"].value == pytest.approx(3 / 9)
    assert found["exact_match"].value == pytest.approx(1 / 3)


def test_what_another_target_says_is_said_after_its_scores_are_taken_over() -> None:
    other = MultilabelTarget(("blue", "red"), "|", (1.0, -2.0))
    scores = np.array([[1.5, -1.5], [0.5, -2.5]], np.float32)
    joint = TARGET.joint(other)
    assert joint.labels == ("blue", "red", "round", "square")
    assert joint.said(joint.adopt(other, scores)).tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]
    own = at(0.5, 0.0, -0.5)
    assert own.joint(at(0.0, 1.0, 2.0)) == own
    taken = own.adopt(at(0.0, 1.0, 2.0), np.array([[0.1, 0.9, 2.1]]))
    assert own.said(taken).tolist() == [[1, 0, 1]]


def test_the_surest_mistakes_come_first_and_say_what_is_wrong() -> None:
    truth = TARGET.encode(["red", "round", None, ";"])
    scores = np.array([[1.0, 0.5, -1.0], [3.0, -2.0, -1.0], [9, 9, 9], [-1, -1, -1]])
    first, second = TARGET.mistakes(truth, scores, 5)
    assert (first.row, second.row) == (1, 0)
    assert first.caption == "has round; too many: red; missing: round"
    assert second.caption == "has red; too many: round"
    assert (second.truth, second.predicted) == ("red", "red, round")
    assert TARGET.spell(truth[3]) == "none of the labels"


def test_the_tables_tell_of_each_label_and_of_how_many_there_are() -> None:
    truth = TARGET.encode(["red", "round;red", ";", None])
    scores = np.array([[1.0, 1, -1], [1, 1, -1], [-1, -1, -1], [1, 1, 1]])
    labels, counts = TARGET.sections(truth, scores, 0)
    assert isinstance(labels, Table)
    assert isinstance(counts, Table)
    assert [row[0] for row in labels.rows] == ["red", "round", "square"]
    assert [row[1] for row in labels.rows] == ["50%"] * 3
    assert [row[-1] for row in labels.rows] == ["2", "1", "0"]
    assert counts.rows == (("0", "1", "1"), ("1", "1", "0"), ("2", "1", "2"))


def test_differences_are_told_label_by_label() -> None:
    truth = TARGET.encode(["red", "red", "round", None])
    ours, theirs = np.array([[1.0, -1, -1]] * 4), np.array([[-1.0, -1, -1]] * 4)
    (table,) = TARGET.differences(truth, ours, theirs, "the other")
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["red", "round", "square"]
    assert "+100" in str(table.rows[0][2])
    assert "the other" in table.title


@pytest.mark.parametrize("raw", [["a;b", "b;a", None], ["[]", "[]"]])
def test_labels_that_do_not_vary_are_refused(raw: list[str | None]) -> None:
    with pytest.raises(DataError, match="same labels"):
        MULTILABEL.learn(raw)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": []},
        {"labels": ["red", 3, "square"]},
        {"separator": "/"},
        {"cuts": [0.0]},
        {"cuts": [0.0, float("nan"), 0.0]},
        {"cuts": [True, 0.0, 0.0]},
    ],
)
def test_a_damaged_state_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BundleError, match="multilabel target needs"):
        MULTILABEL.restore({**TARGET.state(), **change})  # type: ignore[dict-item]


def test_scores_of_any_size_have_a_probability() -> None:
    wide: Array = np.array([1e4, -1e4, 0.0])
    assert list(TARGET.answer(wide)["probabilities"].values()) == [1.0, 0.5, 0.0]  # type: ignore[union-attr]


@pytest.mark.parametrize("raw", [["a;b", "b", ";"], ['["a", "b;c"]', '["ä"]', "[]"]])
def test_what_is_written_is_read_back(raw: list[str]) -> None:
    target = MULTILABEL.learn(raw)
    truth = target.encode(raw)
    assert target.encode([target.written(one) for one in truth]).tolist() == truth.tolist()
