"""The check: what is usable, double, contradictory or leaking, and the sentences that say so."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topwork.contracts import Dataset, Inspection, Rejected, Remark, Side
from topwork.data import Findings, examine, require_enough, require_possible
from topwork.data.units import components, group_pairs, members
from topwork.errors import DataError

NONE = np.zeros((0, 2), dtype=np.int64)


def no_bytes(row: int) -> bytes:
    raise AssertionError(f"the check looked into row {row}")


def dataset(
    labels: Sequence[str | None],
    given: Sequence[Side | None] | None = None,
    rejected: tuple[Rejected, ...] = (),
) -> Dataset:
    return Dataset(
        "image", tuple(f"{i}.jpg" for i in range(len(labels))), no_bytes, {"label": tuple(labels)},
        given=None if given is None else tuple(given), rejected=rejected,
    )  # fmt: skip


def seen(contents: Sequence[object], problems: dict[int, str] | None = None) -> list[Inspection]:
    return [
        Inspection(hashlib.sha256(str(c).encode()).digest(), None, {}, (problems or {}).get(row))
        for row, c in enumerate(contents)
    ]


def text(findings: Findings) -> str:
    return "\n".join(findings.lines)


# --- units ------------------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=80))
def test_components_are_those_of_a_plain_search(n: int, raw: list[tuple[int, int]]) -> None:
    pairs = [(a % n, b % n) for a, b in raw]
    labels = components(n, np.array(pairs, dtype=np.int64).reshape(-1, 2))
    slow = list(range(n))
    for _ in range(n):
        for a, b in pairs:
            slow[a] = slow[b] = min(slow[a], slow[b])
    assert [slow[a] == slow[b] for a in range(n) for b in range(n)] == [
        bool(labels[a] == labels[b]) for a in range(n) for b in range(n)
    ]
    first = [int(np.flatnonzero(labels == label)[0]) for label in range(int(labels.max()) + 1)]
    assert first == sorted(first)  # numbered in the order of their first rows, without gaps


def test_groups_leave_out_what_has_no_value() -> None:
    assert group_pairs(["a", "", "a", None, "b", "", "a"]).tolist() == [[0, 2], [0, 6]]
    parts = members(np.array([1, 0, 1, 2]), np.array([0, 1, 2]))
    assert [part.tolist() for part in parts] == [[1], [0, 2]]


# --- findings ---------------------------------------------------------------------------------------------


def test_what_facts_mean_is_told_with_the_input_of_which_it_is_truest() -> None:
    facts = [{"long": float(value)} for value in (0, 1, 5, 2, 9)] + [{}] * 15
    rows = [replace(one, facts=fact) for one, fact in zip(seen(range(20), {4: "broken"}), facts, strict=True)]
    remarks = (
        Remark("long", 1.0, "Cut off {}"),
        Remark("long", 4.0, "Thrown away {}"),
        Remark("odd", 0.0, "{}"),
    )
    found = examine(dataset(["a", "b"] * 10), rows, NONE, remarks=remarks)
    told = [line for line in found.lines if line.startswith(("Cut", "Thrown"))]
    assert told == ["Cut off 2 inputs, such as 2.jpg.", "Thrown away 1 input, 2.jpg."]


def test_clean_data_need_one_line() -> None:
    found = examine(dataset(["a", "b"] * 10), seen(range(20)), NONE)
    assert found.lines == ("All 20 inputs can be used.",)
    assert found.usable.tolist() == list(range(20))
    assert found.units.tolist() == list(range(20))
    assert found.class_counts == {"label": {"a": 10, "b": 10}}


def test_rows_that_cannot_be_read_or_have_no_label_are_left_out_with_the_reason() -> None:
    data = dataset(["a", "b", None, "a"], rejected=(Rejected("line 9", "it has no file name"),))
    found = examine(data, seen(range(4), {3: "The file is empty.\nGive another."}), NONE)
    assert found.usable.tolist() == [0, 1]
    assert [one.key for one in found.rejected] == ["line 9", "3.jpg"]
    assert "2 were left out." in text(found)
    assert "Left out: 1 × it has no file name." in found.lines
    assert "Left out: 1 × The file is empty." in found.lines


def test_exact_copies_and_near_duplicates_make_units() -> None:
    found = examine(dataset(["a"] * 6), seen([1, 1, 2, 3, 4, 1]), np.array([[2, 3], [3, 5]]))
    assert found.exact == ((0, 1, 5),)
    assert found.units.tolist() == [0, 0, 0, 0, 1, 0]
    assert "2 inputs are exact copies of others, such as 0.jpg = 1.jpg = 5.jpg." in text(found)
    assert "5 inputs in 1 group are near duplicates" in text(found)


def test_unreadable_rows_take_no_part_in_duplicates() -> None:
    found = examine(dataset(["a", "b", "a"]), seen([1, 1, 2], {0: "broken", 1: "broken"}), NONE)
    assert found.exact == ()
    assert found.conflicts == ()


def test_rows_that_could_not_even_be_read_are_not_copies_of_each_other() -> None:
    gone = Inspection(b"", None, {}, "The file does not exist.")
    found = examine(dataset(["a", "b", "a"]), [gone, gone, *seen([1])], NONE)
    assert found.units.tolist() == [0, 1, 2]


def test_duplicates_with_different_labels_are_conflicts() -> None:
    found = examine(dataset(["cat", "dog", "cat", None]), seen([1, 1, 2, 2]), NONE)
    assert found.conflicts == ((0, 1),)
    assert "1 group of duplicates has different labels: 0.jpg (cat), 1.jpg (dog)." in text(found)


def test_duplicates_across_given_sides_are_leaks() -> None:
    sides: list[Side | None] = ["train", "test", "train", None, "valid"]
    found = examine(dataset(["a"] * 5, sides), seen([1, 1, 2, 2, 3]), np.array([[3, 4]]))
    assert found.leaks == ((0, 1), (2, 3, 4))
    assert "Leak: 2 groups of duplicates have members on different sides" in text(found)
    assert examine(dataset(["a"] * 5), seen([1, 1, 2, 2, 3]), NONE).leaks == ()


def test_uneven_and_small_classes_are_named() -> None:
    found = examine(dataset(["a"] * 60 + ["b"] * 9 + ["c"] * 3), seen(range(72)), NONE)
    assert "uneven: 'a' has 60 inputs, 'c' has 3" in text(found)
    assert "1 class has fewer than 5 inputs: 'c' 3." in text(found)
    assert "1 class has fewer than 10 inputs: 'b' 9." in text(found)


def test_inspections_must_fit_the_rows() -> None:
    with pytest.raises(ValueError, match="2 inspections for 3 rows"):
        examine(dataset(["a"] * 3), seen(range(2)), NONE)


# --- enough -----------------------------------------------------------------------------------------------


def test_enough_is_enough() -> None:
    data = dataset(["a"] * 8 + ["b"] * 2)
    require_enough(examine(data, seen(range(10)), NONE), data)


def test_too_few_rows_say_what_ate_the_others() -> None:
    data = dataset(["a", "b"] * 10)
    found = examine(data, seen(range(20), dict.fromkeys(range(15), "The file is empty.")), NONE)
    with pytest.raises(DataError, match=r"Only 5 of 20 inputs can be used.*15 × The file is empty"):
        require_enough(found, data)


@pytest.mark.parametrize("labels", [["a"] * 20, ["a"] * 19 + ["b"], [str(i) for i in range(20)]])
def test_fewer_than_two_classes_of_two_are_refused(labels: list[str]) -> None:
    data = dataset(labels)
    with pytest.raises(DataError, match="fewer than two labels with at least two"):
        require_enough(examine(data, seen(range(20)), NONE), data)
    with pytest.raises(DataError, match="fewer than two labels with at least two"):
        require_possible(data)
    require_possible(data, ["label"])


def test_too_few_labels_are_refused_before_anything_is_read() -> None:
    with pytest.raises(DataError, match="Only 9 of 20 inputs can be used"):
        require_possible(dataset(["a", "b", "a"] * 3 + [None] * 11))
    require_possible(dataset(["a", "b"] * 5 + [None] * 10))
