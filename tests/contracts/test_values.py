"""Which rows have a truth is said in one place, for every kind of truth."""

from __future__ import annotations

import numpy as np

from topwork.contracts import known_rows


def test_a_missing_class_is_below_zero_and_a_missing_number_is_none() -> None:
    assert known_rows(np.array([0, -1, 3])).tolist() == [True, False, True]
    assert known_rows(np.array([0.0, -1.0, np.nan])).tolist() == [True, True, False]


def test_a_row_of_several_columns_is_known_where_all_are() -> None:
    assert known_rows(np.array([[1.0, 0.0], [np.nan, 1.0]])).tolist() == [True, False]
    assert known_rows(np.zeros((0, 2))).tolist() == []
