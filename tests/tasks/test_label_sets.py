"""Several labels in one cell: what separates them is recognised from all cells, and never guessed."""

from __future__ import annotations

import pytest

from topwork.errors import DataError
from topwork.tasks.label_sets import JSON_LIST, recognised, split


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["a;b", "c"], ";"),
        (["a | b", "c", "[]"], "|"),
        (["a, b", ","], ","),
        (['["a", "b"]', "[]"], JSON_LIST),
        (['["a;b", "c,d"]', '["e|f"]'], JSON_LIST),
        (["[a;b]"], ";"),
    ],
)
def test_the_separator_is_recognised(cells: list[str], separator: str) -> None:
    assert recognised(cells) == separator


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        (["a;b", "c,d"], r"not clear: ';' and ',' occur, as in 'a;b' and 'c,d'"),
        (["a", "b"], "None of 2 cells holds more than one label, such as 'a'"),
        ([], "None of 0 cells holds more than one label; labels"),
        (['["a"]', "b;c"], "1 of 2 cells are JSON lists"),
    ],
)
def test_what_is_not_clear_is_refused(cells: list[str], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        recognised(cells)


@pytest.mark.parametrize(
    ("cell", "separator", "labels"),
    [
        ("a;b", ";", ("a", "b")),
        (" a ; b ;; a", ";", ("a", "b")),
        (";", ";", ()),
        ("[]", ";", ()),
        ("a,b", ";", ("a,b",)),
        ('["a;b", "c"]', JSON_LIST, ("a;b", "c")),
        ("[]", JSON_LIST, ()),
    ],
)
def test_a_cell_is_split(cell: str, separator: str, labels: tuple[str, ...]) -> None:
    assert split(cell, separator) == labels


def test_a_cell_that_is_no_list_among_lists_is_refused() -> None:
    with pytest.raises(DataError, match="'a;b' is no JSON list"):
        split("a;b", JSON_LIST)
