"""Which rows have a truth, and which of them are alike, is said in one place for every kind of truth."""

from __future__ import annotations

import numpy as np

from topwork.contracts import joint_strata, known_rows, strata_of


def test_a_missing_class_is_below_zero_and_a_missing_number_is_none() -> None:
    assert known_rows(np.array([0, -1, 3])).tolist() == [True, False, True]
    assert known_rows(np.array([0.0, -1.0, np.nan])).tolist() == [True, True, False]


def test_a_row_of_several_columns_is_known_where_all_are() -> None:
    assert known_rows(np.array([[1.0, 0.0], [np.nan, 1.0]])).tolist() == [True, False]
    assert known_rows(np.zeros((0, 2))).tolist() == []


def test_the_stratum_of_a_row_is_its_class_or_its_rarest_label() -> None:
    assert strata_of(np.array([2, -1, 0])).tolist() == [2, -1, 0]
    assert strata_of(np.array([0.5, np.nan])).tolist() == [0, -1]
    times = np.array([[3.5, 1], [2.0, 0], [np.nan, np.nan]])
    assert strata_of(times).tolist() == [1, 0, -1]
    truth = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0], [-1, -1, -1], [0, 1, 0]], np.int8)
    assert strata_of(truth).tolist() == [0, 0, 2, 3, -1, 1]


def test_over_several_targets_a_row_is_of_its_rarest_stratum() -> None:
    kind = np.array([0, 0, 0, 1, 1, -1, -1, 0])
    price = np.array([1.0, 2.0, np.nan, np.nan, np.nan, np.nan, 4.0, np.nan])
    # Of kind 0 there are four rows, of kind 1 two, of a price three.
    found = joint_strata([kind, price])
    assert found[5] == -1
    alike = {(0, 1, 6), (2, 7), (3, 4)}
    assert {tuple(np.flatnonzero(found == one).tolist()) for one in set(found.tolist()) - {-1}} == alike


def test_the_strata_of_one_target_are_its_own() -> None:
    truth = np.array([2, -1, 0, 2])
    assert joint_strata([truth]).tolist() == strata_of(truth).tolist()
