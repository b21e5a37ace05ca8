"""Markdown: the same numbers as the page, and no text that escapes its cell."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from records import (
    HOSTILE_TEXTS,
    chess_record,
    evaluation_record,
    hostile_record,
    plain_record,
    table,
    two_target_record,
    unmeasured_record,
    wide_record,
)
from topwork.contracts import FitRecord, Table, TargetResult
from topwork.report.html import render_html
from topwork.report.json import render_json
from topwork.report.markdown import escape, render_markdown

MAKERS = (
    *(chess_record, plain_record, hostile_record, wide_record, two_target_record, evaluation_record),
    unmeasured_record,
)
RECORDS = [make() for make in MAKERS]


def tables(markdown: str) -> list[list[str]]:
    return [block.split("\n") for block in re.findall(r"(?:^\|.*\n?)+", markdown, re.M)]


def n_columns(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line)) - 1


@pytest.mark.parametrize("record", RECORDS, ids=range(len(RECORDS)))
def test_every_table_has_as_many_cells_in_every_line(record: FitRecord) -> None:
    found = tables(render_markdown(record))
    assert len(found) >= 2
    for lines in found:
        widths = {n_columns(line) for line in lines if line}
        assert len(widths) == 1, lines[:3]


@pytest.mark.parametrize("record", RECORDS, ids=range(len(RECORDS)))
def test_no_tag_and_no_unprintable_character_comes_through(record: FitRecord) -> None:
    text = render_markdown(record)
    text.encode("utf-8")
    outside_code = "\n".join(line for line in text.split("\n") if not line.startswith("    "))
    assert "<" not in outside_code
    assert not re.search("[\x00\u202a-\u202e]", text)


def test_marks_are_shown_instead_of_obeyed() -> None:
    assert escape("a|b *c* _d_ `e` [f](g) <h>") == r"a\|b \*c\* \_d\_ \`e\` \[f\](g) &lt;h&gt;"
    assert escape("# no heading") == r"\# no heading"
    assert escape("- no list") == r"\- no list"
    assert escape("1. no list") == r"1\. no list"
    assert escape("---") == r"\---"
    assert [escape(text) for text in ("0.80", "-0.5", "+1", "#5")] == ["0.80", "-0.5", "+1", "#5"]
    assert escape("two\nlines\x00") == "two lines\ufffd"
    assert escape("plain words, 81.1 % (ok)") == "plain words, 81.1 % (ok)"
    for text in HOSTILE_TEXTS:
        assert "\n" not in escape(text)


def shown(result: TargetResult) -> list[str]:
    """Return the numbers of a target as a person reads them."""
    cells = [cell for s in result.sections if isinstance(s, Table) for row in s.rows for cell in row[1:]]
    return [f"{100 * e.value:.1f}" for e in cells if not isinstance(e, str)]


def test_the_page_and_the_markdown_hold_the_same_numbers() -> None:
    record = chess_record()
    text, page = render_markdown(record), render_html(record)
    numbers = [*shown(record.targets["label"]), "81.1", "72.8", "87.3", "18.9", "0.613", "1.782", "74.3"]
    assert len(numbers) == 19
    for number in numbers:
        assert number in text
        assert number in page


def test_the_matrix_is_a_table_of_counts_unless_it_is_too_wide() -> None:
    text = render_markdown(chess_record())
    assert "| King | 1 | 9 | 0 | 0 | 5 | 0 |" in text
    assert "100 classes: see the HTML report." in render_markdown(wide_record())
    assert len(render_markdown(wide_record())) < 20_000


def test_it_opens_with_what_must_be_known_and_ends_with_how_to_make_it_again() -> None:
    text = render_markdown(evaluation_record()).replace("\u00a0", " ")
    assert text.startswith("# chess: evaluation report\n\n> **Note:** The test has only 20 examples")
    assert "    topwork evaluate chess.topwork other/" in text
    assert "5a7e0c0b" in text
    assert text.endswith(("|\n\n", "|\n"))


def test_pictures_stay_in_the_page() -> None:
    assert "photo 000.jpg" not in render_markdown(chess_record())


def test_a_flood_of_rejected_inputs_is_cut() -> None:
    text = render_markdown(chess_record())
    assert "Pawn/00000113.gif" in text
    assert "more" not in text.split("## Data")[1].split("## How it was made")[0]


def test_a_chart_is_a_small_table_with_its_ends() -> None:
    text = render_markdown(chess_record()).replace("\u00a0", " ")
    assert "| series | labelled training examples | accuracy | interval |" in text
    assert "| fitted curve, 95 % range | 44 | 51.3 % | 46.8 to 55.8 % |" in text
    assert "| fitted curve, 95 % range | 880 | 83.5 % | 79.0 to 88.0 % |" in text
    assert text.count("| fitted curve") == 8
    assert "There is nothing to draw." in render_markdown(unmeasured_record())


def test_the_proof_is_told() -> None:
    text = render_markdown(chess_record()).replace("\u00a0", " ")
    for line in (
        "| frozen network | no difference shown: 1.8 points, −2.7 to 6.3 | better by 0.071, 0.011 to 0.131 | 1.9 s |",
        "| upper stages (chosen) | 23.4 s | 78.6 % | 0.620 (0.539 to 0.702) | better by 0.101, 0.052 to 0.150 |",
        "| most memory | 720 MB to 1.1 GB | 1.34 GB | more than expected |",
        "| upper stages | 410 steps of 32, AdamW",
        "beside that the proof took 87.0 s",
        "(880 instead of 440) would help: a gain in accuracy of about 4.7 points (0.3 to 8.8)",
    ):
        assert line in text, line
    plain = render_markdown(plain_record())
    for absent in ("Against other models", "Forecasts", "The plan", "the proof"):
        assert absent not in plain


def test_all_sentences_stand_before_the_first_table() -> None:
    for record in (chess_record(), two_target_record()):
        text = render_markdown(record)
        opening = text.split("\n| ")[0]
        assert opening.count("**What it can do.**") == len(record.targets)
        assert opening.count("**What it cost.** Fitting took") == 1


@pytest.mark.parametrize(("k", "n_shown", "n_more"), [(60, 60, 0), (61, 60, 1), (100, 60, 40)])
def test_a_table_of_many_classes_is_cut_and_says_so(k: int, n_shown: int, n_more: int) -> None:
    record = plain_record()
    each = replace(table(), rows=tuple((f"class {i}", *table().rows[0][1:]) for i in range(k)))
    record = replace(record, targets={"label": replace(record.targets["label"], sections=(each,))})
    text = render_markdown(record)
    shown = text.split("### Each class")[1].split("###")[0]
    assert shown.count("| class ") == n_shown
    assert (f"- and {n_more} more: see the HTML report" in shown) == bool(n_more)
    cells = json.loads(render_json(record))["targets"]["label"]["sections"][0]["rows"]
    assert len(cells) == k
