"""Kinds of settings read what a person writes, refuse the rest, and describe exactly that."""

from __future__ import annotations

import math

import pytest

from topwork.errors import UsageError
from topwork.serving.settings.kinds import Choice, Count, Duration, Kind, Number, Place, Scalar, Size, Word
from topwork.steps.options import duration_s

SIZE, DURATION, PORT = Size("…"), Duration("…"), Count("…", least=0, most=65535)
PORTION, FACTOR = Number("…", least=0, most=1), Number("…", least=1)
SHARE, WEIGHT = Number("…", 0.001, 1.0), Number("…", 0.0)
READ: list[tuple[Kind, Scalar, object]] = [
    (SIZE, 1000, 1000),
    (SIZE, "1000", 1000),
    (SIZE, "500kB", 500_000),
    (SIZE, "32MiB", 32 * 2**20),
    (SIZE, "1.5 KiB", 1536),
    (SIZE, "2GB", 2 * 10**9),
    (DURATION, 30, 30.0),
    (DURATION, 0.5, 0.5),
    (DURATION, "30s", 30.0),
    (DURATION, "500ms", 0.5),
    (DURATION, "1s500ms", 1.5),
    (DURATION, "1m30s", 90.0),
    (DURATION, "24h", 86_400.0),
    (PORT, 0, 0),
    (PORT, 65535, 65535),
    (PORTION, 0, 0.0),
    (PORTION, 0.25, 0.25),
    (PORTION, 1, 1.0),
    (FACTOR, 1e6, 1e6),
    (SHARE, 1, 1.0),
    (SHARE, 0.05, 0.05),
    (WEIGHT, 0, 0.0),
    (Word("…"), "a word", "a word"),
    (Choice("…", ("a", "b")), "b", "b"),
]
REFUSED: list[tuple[Kind, Scalar]] = [
    *(
        (SIZE, given)
        for given in (0, -1, True, None, 1.5, "", "MiB", "1mb", "0B", "0.1B", "9" * 400, "１MiB", "1MiB\n")
    ),
    *(
        (DURATION, given)
        for given in (0, -1, True, None, "", "0s", "s", "1d", "25h", "30s1m", "500m s", "9" * 400)
    ),
    *((DURATION, given) for given in (math.inf, math.nan, 86_401, "1e3", "30s\n", "none")),
    *((PORT, given) for given in (-1, 65536, True, 80.0, "80", None)),
    *((PORTION, given) for given in (-0.1, 1.1, True, None, "1", math.nan, math.inf)),
    *((FACTOR, given) for given in (0.9, math.inf)),
    *((SHARE, given) for given in (0, 1.01, -0.1, True, "0.5", None, math.nan, math.inf)),
    *((WEIGHT, given) for given in (-1, math.inf)),
    *((Word("…"), given) for given in ("", "  ", "two\nlines", 3, True, None)),
    *((Place("…"), given) for given in ("", 3, "a\0b")),
    *((Choice("…", ("a", "b")), given) for given in ("c", "", None, 1)),
]


@pytest.mark.parametrize(("kind", "given", "value"), READ)
def test_what_a_person_writes_is_read(kind: Kind, given: Scalar, value: object) -> None:
    read = kind.read(given)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(("kind", "given"), REFUSED)
def test_anything_else_is_refused(kind: Kind, given: Scalar) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whoever reads says what is wrong
        kind.read(given)


@pytest.mark.parametrize("value", [1, 1000, 1024, 1536, 32 * 2**20, 3 * 2**30, 2**20 + 1])
def test_a_size_is_shown_as_it_can_be_read(value: int) -> None:
    assert SIZE.read(SIZE.show(value)) == value


def test_a_word_of_a_command_line_is_a_number_where_one_is_wanted() -> None:
    assert PORT.read_word("8000") == 8000
    assert SHARE.read_word("0.5") == 0.5
    with pytest.raises(ValueError, match="invalid literal"):
        PORT.read_word("eighty")


@pytest.mark.parametrize(
    "word", ["90", "90s", "2m", "1h30m", "1m30", "1.5h", "0.5", "", "x", "-1", "0", "1x", "5m5h"]
)
def test_a_duration_is_written_as_for_a_fit(word: str) -> None:
    def read_by(read: object) -> float | None:
        try:
            return float(read(word))  # type: ignore[operator]
        except (ValueError, UsageError):
            return None

    assert read_by(DURATION.read) == read_by(duration_s)
