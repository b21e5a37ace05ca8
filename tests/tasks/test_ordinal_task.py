"""Ordered classes: numbers give the order, and an answer is the middle of its probabilities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from topwork.contracts import Matrix, Table
from topwork.errors import BundleError, DataError
from topwork.evaluation.ordinal import exceeded
from topwork.tasks.ordinal import ORDINAL, OrdinalTarget

RAW = ["10", "2", "1.5", None, "2.0", "nan"]
LEARNT = ORDINAL.learn(RAW)
TARGET = replace(LEARNT, doubt=0.0)


def test_the_order_is_that_of_the_numbers_and_not_of_their_letters() -> None:
    assert TARGET.labels == ("1.5", "2", "10")
    assert TARGET.n_outputs == 2
    assert TARGET.encode(RAW).tolist() == [2, 1, 0, -1, 1, -1]
    assert TARGET.encode(["3"]).tolist() == [-1]
    assert TARGET.understood == ("The classes are ordered: 1.5 < 2 < 10.",)


def test_texts_have_no_order() -> None:
    with pytest.raises(
        DataError, match=r"2 of 3 values are none, such as 'low', 'high'.*\n.*Number the classes"
    ):
        ORDINAL.learn(["low", "high", "3", None])
    with pytest.raises(DataError, match="their order is not known"):
        TARGET.encode(["mid"])


def test_an_answer_is_the_middle_class_which_need_not_be_the_likeliest() -> None:
    scores = np.log(np.array([0.6 / 0.4, 0.45 / 0.55]))  # 40 % of 1.5, 15 % of 2, 45 % of 10
    found = TARGET.answer(scores)
    assert found["label"] == "2"
    assert found["probabilities"] == pytest.approx({"10": 0.45, "1.5": 0.4, "2": 0.15})
    assert [*found["probabilities"]] == ["10", "1.5", "2"]  # type: ignore[misc]


def test_no_class_of_an_answer_is_without_a_chance() -> None:
    assert LEARNT.shares == (0.25, 0.5, 0.25)
    crossed = np.array([-1.0, 2.0])  # its odds rise, so nothing is left for the class between
    plain, doubted = (target.answer(crossed)["probabilities"] for target in (TARGET, LEARNT))
    assert plain["2"] == pytest.approx(0, abs=1e-9)  # type: ignore[index, call-overload]
    assert doubted["2"] == pytest.approx(0.5 * LEARNT.doubt)  # type: ignore[index, call-overload]
    assert sum(doubted.values()) == pytest.approx(1)  # type: ignore[union-attr, arg-type]


def test_how_much_is_doubted_is_learnt_from_held_out_rows() -> None:
    truth = np.array([0, 1, 2] * 40)
    sure = np.where(exceeded(truth, 2) > 0, 8.0, -8.0)
    swapped = np.where(exceeded(np.roll(truth, 1), 2) > 0, 8.0, -8.0)
    missing = np.full((120, 2), np.nan)
    little, much, none = (LEARNT.calibrated(truth, one).doubt for one in (sure, swapped, missing))
    assert 0 < little < 0.02
    assert much > 0.9
    assert none == LEARNT.doubt
    found = replace(LEARNT, doubt=much).evaluate(truth, swapped, 0)["log_loss"].value
    assert found < 1.3 < TARGET.evaluate(truth, swapped, 0)["log_loss"].value


def test_scores_of_another_target_keep_what_they_say() -> None:
    other = OrdinalTarget((1.0, 2.0, 5.0))
    joint = TARGET.joint(other)
    assert joint.values == (1.0, 1.5, 2.0, 5.0, 10.0)
    scores = np.array([[-1.0, -2.0], [1.0, -2.0], [2.0, 1.0]])
    taken = joint.adopt(other, scores)
    assert [joint.spell(rank) for rank in joint.said(taken)] == ["1", "2", "5"]
    ours = joint.adopt(TARGET, scores)
    assert [joint.spell(rank) for rank in joint.said(ours)] == ["1.5", "2", "10"]


def test_the_baseline_answers_the_middle_class() -> None:
    truth = TARGET.encode(["10", "10", "2", "1.5", "1.5"])
    found = TARGET.baselines(truth, truth, 0)["median"]
    assert found["accuracy"].value == pytest.approx(0.2)
    assert found["rank_error"].value == pytest.approx(0.8)


def test_the_mistakes_that_are_furthest_off_come_first() -> None:
    truth = TARGET.encode(["10", "2", "1.5", None])
    scores = np.array([[-3.0, -3.0], [-1.0, -3.0], [-3.0, -4.0], [3.0, 3.0]])
    first, second = TARGET.mistakes(truth, scores, 5)
    assert (first.row, second.row) == (0, 1)
    assert first.caption == "is 10, said 1.5 (2 ranks off, 95%)"
    assert second.caption.startswith("is 2, said 1.5 (1 rank off")


def test_the_sections_tell_what_is_taken_for_what_and_how_far_off() -> None:
    truth = TARGET.encode(["10", "2", "1.5", None])
    scores = np.array([[-3.0, -3.0], [1.0, -3.0], [-3.0, -4.0], [3.0, 3.0]])
    matrix, table = TARGET.sections(truth, scores, 0)
    assert isinstance(matrix, Matrix)
    assert matrix.counts == ((1, 0, 0), (0, 1, 0), (1, 0, 0))
    assert isinstance(table, Table)
    assert [(row[0], row[2]) for row in table.rows] == [("0", "2"), ("2", "1")]


def test_a_single_class_is_refused() -> None:
    with pytest.raises(DataError, match="only the class 3 in 3 rows"):
        ORDINAL.learn(["3", "3.0", None])


@pytest.mark.parametrize(
    "values", [None, [], [1.0], [2.0, 1.0], [1.0, "2"], [1.0, True], [1.0, float("inf")]]
)
def test_a_damaged_state_is_refused(values: object) -> None:
    with pytest.raises(BundleError, match="ordinal target needs"):
        ORDINAL.restore({"values": values})  # type: ignore[dict-item]
    assert ORDINAL.restore(LEARNT.state()) == LEARNT


def test_a_bundle_of_old_doubts_nothing_and_damaged_shares_are_refused() -> None:
    old = ORDINAL.restore({"values": [1.0, 2.0]})
    assert old == OrdinalTarget((1.0, 2.0))
    scores = np.array([[0.3], [-4.0]])
    assert old.evaluate(np.array([1, 0]), scores, 0)["log_loss"].value == pytest.approx(
        np.logaddexp(0, [-0.3, -4.0]).mean()
    )
    with pytest.raises(BundleError, match="a share of each of 2 classes"):
        ORDINAL.restore({"values": [1.0, 2.0], "shares": [1.0], "doubt": 0.1})
