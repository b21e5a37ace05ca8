"""Times and events are read strictly, from one column or from two."""

from __future__ import annotations

import numpy as np
import pytest

from topwork.contracts import Dataset
from topwork.errors import DataError
from topwork.tasks.durations import joined, parse


def data(times: tuple[str | None, ...], events: tuple[str, ...]) -> Dataset:
    keys = tuple(f"{i}.jpg" for i in range(len(times)))
    columns = {"died": events, "site": ("a",) * len(times)}
    return Dataset("image", keys, lambda _: b"", {"days": times}, columns=columns)


def test_a_plus_says_that_no_event_was_seen() -> None:
    found = parse(["12.5", "12.5+", " 3 + ", "0", None, "", "nan"])
    assert found[:4].tolist() == [[12.5, 1], [12.5, 0], [3, 0], [0, 1]]
    assert np.isnan(found[4:]).all()


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("-1", "lies before 0"),
        ("-1+", "lies before 0"),
        ("1,5", "no time"),
        ("3 d", "no time"),
        ("+", "no time"),
    ],
)
def test_what_is_no_time_is_refused(cell: str, told: str) -> None:
    with pytest.raises(
        DataError, match=f"1 of 3 values are none, such as '{cell[:2]}.*{told}".replace("+", r"\+")
    ):
        parse(["1", cell, None])


def test_two_columns_become_one() -> None:
    words = ("1", "0", "Yes", "no", "dead", "ALIVE", "1.0", "censored", "")
    times: tuple[str | None, ...] = ("1", "2", "3", "4", "5", "6", "7", None, "9")
    found = joined(data(times, words), "died", "days")
    assert found.targets == {"days": ("1", "2+", "3", "4+", "5", "6+", "7", None, None)}
    assert list(found.columns) == ["site"]
    assert "1 row without a word of it have no label" in found.understood[-1]
    assert "1 row" not in joined(data(("1", "2"), ("1", "0")), "died", "days").understood[-1]


def test_an_unclear_word_is_named_with_its_row() -> None:
    with pytest.raises(DataError, match=r"1\.jpg has '2' in the column 'died'"):
        joined(data(("1", "2"), ("1", "2")), "died", "days")


def test_events_that_are_told_twice_or_nowhere_are_refused() -> None:
    with pytest.raises(DataError, match="says it again"):
        joined(data(("1+", "2"), ("0", "1")), "died", "days")
    with pytest.raises(DataError, match="no column 'event' of events; there are: died, site"):
        joined(data(("1", "2"), ("0", "1")), "event", "days")
    with pytest.raises(DataError, match="taken for the times"):
        joined(data(("1", "2"), ("0", "1")), "days", "days")
