"""Classification: labels, answers, and what a report is told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from topwork.contracts import Matrix, Table
from topwork.errors import BundleError, DataError
from topwork.tasks.classification import CLASSIFICATION, ClassificationTarget

PIECES = ClassificationTarget(("Bishop", "King", "Rook"))
TRUTH = np.array([0, 0, 1, 2, -1])
SCORES = np.log(
    np.array([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.1, 0.8, 0.1], [0.55, 0.05, 0.4], [1, 1e-9, 1e-9]])
)


def test_labels_are_those_that_occur_sorted() -> None:
    assert CLASSIFICATION.learn(["b", "ä", "a", None, "b"]).labels == ("a", "b", "ä")


@pytest.mark.parametrize(("raw", "said"), [(["a", "a"], "Found 1 label ('a')"), ([None], "Found 0 labels")])
def test_one_label_is_not_enough(raw: list[str | None], said: str) -> None:
    with pytest.raises(DataError) as caught:
        CLASSIFICATION.learn(raw)
    assert said in str(caught.value)


def test_missing_and_unknown_labels_are_minus_one() -> None:
    assert list(PIECES.encode(["Rook", None, "Queen", "Bishop"])) == [2, -1, -1, 0]


def test_state_survives_json() -> None:
    assert CLASSIFICATION.restore(json.loads(json.dumps(PIECES.state()))) == PIECES


@pytest.mark.parametrize("state", [{}, {"labels": "ab"}, {"labels": [1, 2]}, {"labels": ["a"]}])
def test_a_state_that_makes_no_sense_is_refused(state: dict[str, list[int]]) -> None:
    with pytest.raises(BundleError, match="at least two label names"):
        CLASSIFICATION.restore(state)


def test_an_answer_names_the_likeliest_first_and_adds_up() -> None:
    answer = PIECES.answer(SCORES[1])
    shares = answer["probabilities"]
    assert isinstance(shares, dict)
    assert answer["label"] == "King"
    assert list(shares) == ["King", "Rook", "Bishop"]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["King"] == pytest.approx(0.7)


def test_with_many_classes_an_answer_stays_short() -> None:
    many = ClassificationTarget(tuple(f"{i:03}" for i in range(200)))
    shares = many.answer(np.arange(200.0))["probabilities"]
    assert isinstance(shares, dict)
    assert next(iter(shares)) == "199"
    assert len(shares) == 25


def test_metrics_are_those_of_the_rows_with_a_label() -> None:
    assert PIECES.evaluate(TRUTH, SCORES, 0)["accuracy"].value == pytest.approx(0.5)


def test_the_majority_baseline_is_the_share_of_the_training_majority_in_the_test() -> None:
    majority = PIECES.baselines(np.array([1, 1, 0, -1]), TRUTH, 0)["majority"]
    assert majority["accuracy"].value == pytest.approx(0.25)


def test_the_matrix_counts_truth_by_rows() -> None:
    matrix, table, *_ = PIECES.sections(TRUTH, SCORES, 0)
    assert isinstance(matrix, Matrix)
    assert matrix.counts == ((1, 1, 0), (0, 1, 0), (1, 0, 0))
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["Bishop", "King", "Rook"]


def test_with_many_classes_the_pairs_confused_most_stand_for_the_matrix() -> None:
    many = ClassificationTarget(tuple(f"{i:04}" for i in range(2000)))
    truth = np.array([5, 5, 5, 1999, 7, 8])
    scores = np.zeros((6, 2000), dtype=np.float32)
    scores[np.arange(6), [6, 9, 6, 0, 7, 8]] = 1.0
    confusions, table, *_ = many.sections(truth, scores, 0)
    assert isinstance(confusions, Table)
    assert confusions.rows == (
        ("0005", "0006", "2", "3"),
        ("0005", "0009", "1", "3"),
        ("1999", "0000", "1", "1"),
    )
    assert isinstance(table, Table)
    assert len(table.rows) == 2000


def test_with_many_classes_and_no_mistake_there_is_nothing_to_list() -> None:
    many = ClassificationTarget(tuple(f"{i:04}" for i in range(100)))
    confusions, *_ = many.sections(np.arange(100), np.eye(100, dtype=np.float32), 0)
    assert isinstance(confusions, Table)
    assert confusions.rows == ()


def test_the_surest_mistake_comes_first() -> None:
    first, second = PIECES.mistakes(TRUTH, SCORES, 5)
    assert (first.row, first.caption) == (1, "is Bishop, said King (70%)")
    assert (second.row, second.caption) == (3, "is Rook, said Bishop (55%)")
    assert PIECES.mistakes(TRUTH, SCORES, 1) == (first,)
