"""What a text is written by, as it stands before it."""

from __future__ import annotations

import pytest

from topwork.errors import UsageError
from topwork.inputs.conditions import beginning_of, values_of

COLUMNS = ("title", "genre", "text")


def test_each_value_is_a_line_in_the_order_of_the_columns_and_the_text_has_its_name() -> None:
    assert beginning_of({"genre": "fantasy", "title": "The  tower\nfalls"}, COLUMNS) == (
        "title: The tower falls\ngenre: fantasy\ntext:\n"
    )


def test_what_is_not_given_is_left_out() -> None:
    assert beginning_of({"genre": "fantasy", "title": " "}, COLUMNS) == "genre: fantasy\ntext:\n"
    assert beginning_of({}, COLUMNS) == "text:\n"
    assert beginning_of({}, ()) == ""


@pytest.mark.parametrize(
    ("columns", "said"), [(COLUMNS, "it is given title, genre"), ((), "its texts were given nothing")]
)
def test_a_name_that_is_no_column_is_told(columns: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        beginning_of({"text": "a"}, columns)


@pytest.mark.parametrize(
    ("given", "columns"),
    [
        ({"title": "A: b", "genre": "sad"}, COLUMNS),
        ({"genre": "title: x"}, COLUMNS),
        ({}, COLUMNS),
        ({"a\nb": "x"}, ("a\nb", "text")),
    ],
)
def test_values_come_back(given: dict[str, str], columns: tuple[str, ...]) -> None:
    assert values_of(beginning_of(given, columns), columns) == given
