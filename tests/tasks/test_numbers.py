"""Numbers are read strictly: what is no plain number is refused, with what it seems to be."""

from __future__ import annotations

import numpy as np
import pytest

from topwork.errors import DataError
from topwork.tasks.numbers import is_number, parse, spelled


def test_plain_numbers_are_read_as_they_are() -> None:
    raw = ["3.5", " 12 ", "-0.5", "+7", ".25", "2.", "1e3", "-2.5E-2"]
    assert parse(raw).tolist() == [3.5, 12.0, -0.5, 7.0, 0.25, 2.0, 1000.0, -0.025]
    assert all(map(is_number, raw))


def test_what_is_missing_is_nan() -> None:
    assert np.isnan(parse([None, "", "  ", "nan", "NaN"])).all()


@pytest.mark.parametrize(
    ("text", "seems"),
    [
        ("3,5", "a decimal comma"),
        ("1,234.5", "a decimal comma"),
        ("1.234,5", "a decimal comma"),
        ("12 kg", "a number with a unit"),
        ("€ 12", "a number with a unit"),
        ("12%", "a number with a unit"),
        ("1_000", "a number with a unit"),
        ("inf", "infinite"),
        ("-Infinity", "infinite"),
        ("1e999", "infinite, or too large"),
        ("NA", "text"),
    ],
)
def test_all_else_is_refused_with_what_it_seems_to_be(text: str, seems: str) -> None:
    assert not is_number(text)
    with pytest.raises(DataError, match=f"1 of 2 values are none, such as .*: {seems}") as told:
        parse(["1", text, None])
    assert told.value.next_step


def test_text_labels_are_told_from_single_mistakes() -> None:
    with pytest.raises(DataError, match=r"3 of 3 values are none, such as 'cat', 'dog': labels") as told:
        parse(["cat", "dog", "cat"])
    assert "--task" in (told.value.next_step or "")


def test_digits_are_those_that_matter() -> None:
    assert spelled(1234567.8, 1e5) == "1,234,568"
    assert spelled(3.21234, 1.2) == "3.21"
    assert spelled(-0.0123456, 0.002) == "-0.01235"
    assert spelled(float("nan"), 1.0) == "unknown"
    assert spelled(1e20, 1e19) == "1e+20"
