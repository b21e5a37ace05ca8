"""The page: complete in itself, well formed, escaped, and with the record's own numbers."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import pytest

from records import (
    HOSTILE_TEXTS,
    beaten_record,
    chess_record,
    evaluation_record,
    hostile_record,
    plain_record,
    two_target_record,
    unmeasured_record,
    wide_record,
)
from topwork.contracts import FitRecord, Gallery, Picture, Piece, Rejected
from topwork.report.html import render_html

RECORDS = (
    *(chess_record, plain_record, beaten_record, hostile_record, wide_record, two_target_record),
    *(evaluation_record, unmeasured_record),
)
VOID = {"meta", "img", "input", "br", "link", "hr"}
every_record = pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)


@dataclass
class Page(HTMLParser):
    """What a strict reader finds in a page."""

    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""
    open: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __hash__(self) -> int:
        return id(self)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.errors.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def read(record: FitRecord) -> Page:
    page = Page()
    page.feed(render_html(record))
    page.close()
    page.text = re.sub(r"\s+", " ", page.text)
    return page


def words_of(source: str) -> str:
    page = Page()
    page.feed(source)
    return re.sub(r"\s+", " ", page.text)


# --- complete in itself ---------------------------------------------------------------------------------


@every_record
def test_nothing_outside_is_referred_to(record: Callable[[], FitRecord]) -> None:
    page = read(record())
    seen = 0
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "srcset", "data", "poster", "xlink:href", "formaction"):
            if name in attributes:
                seen += 1
                allowed = ("data:image/jpeg;base64,",) if tag == "img" else ("#",)
                assert attributes[name].startswith(allowed), (tag, attributes)
    assert seen >= 6
    assert not page.all("link")
    assert not page.all("iframe")
    assert "@import" not in render_html(record())
    assert "url(" not in "".join(re.findall(r"<style>(.*?)</style>", render_html(record()), re.S))


@every_record
def test_the_policy_allows_the_pages_own_style_and_script_and_nothing_else(
    record: Callable[[], FitRecord],
) -> None:
    source = render_html(record())
    metas = read(record()).all("meta")
    (policy,) = (m["content"] for m in metas if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", source, re.S)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert source.index("Content-Security-Policy") < source.index("<style>")
    for tag, attributes in read(record()).tags:
        assert not [n for n in attributes if n.startswith("on") or n == "style"], (tag, attributes)


# --- well formed and accessible ---------------------------------------------------------------------------


@every_record
def test_every_element_is_closed_and_every_id_is_unique(record: Callable[[], FitRecord]) -> None:
    page = read(record())
    assert page.errors == []
    assert page.open == []
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids)) >= 5
    for _, attributes in page.tags:
        for name in ("aria-labelledby", "list", "data-filters", "data-sorts", "data-counts"):
            assert name not in attributes or attributes[name] in ids
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in ids


@every_record
def test_headings_start_at_one_and_skip_no_level(record: Callable[[], FitRecord]) -> None:
    levels = [int(tag[1]) for tag, _ in read(record()).tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert len(levels) >= 10
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@every_record
def test_pictures_and_drawings_have_words_and_tables_have_captions(record: Callable[[], FitRecord]) -> None:
    page = read(record())
    assert all(a.get("alt") for a in page.all("img"))
    drawings = page.all("svg")
    assert len(drawings) >= 2
    assert all(a.get("aria-label") or a.get("aria-hidden") == "true" for a in drawings)
    assert len(page.all("table")) == len(page.all("caption")) >= 3
    assert all(a.get("scope") in ("row", "col") for a in page.all("th"))
    scrolling = [a for a in page.all("div") if a.get("class") == "scroll"]
    assert scrolling
    assert all(a["tabindex"] == "0" and a["role"] == "region" for a in scrolling)


def test_the_page_says_its_language_and_fits_a_phone() -> None:
    page = read(chess_record())
    assert page.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert render_html(chess_record()).lstrip().lower().startswith("<!doctype html>")


# --- untrusted text ---------------------------------------------------------------------------------------


def test_no_text_of_the_record_becomes_markup() -> None:
    hostile, tame = read(hostile_record()), read(two_target_record())
    assert len(hostile.all("script")) == len(hostile.all("style")) == len(hostile.all("h1")) == 1
    assert {tag for tag, _ in hostile.tags} == {tag for tag, _ in tame.tags}
    assert not [a for a in hostile.all("img") if not a["src"].startswith("data:image/jpeg;base64,/9j/")]
    for text in ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "{{ 7 * 7 }} {% raw %}"):
        assert text in hostile.text
    assert "49" not in hostile.text.split("{% raw %}")[0]


def test_the_page_can_be_encoded_whatever_the_names() -> None:
    source = render_html(hostile_record())
    source.encode("utf-8")
    assert not re.search("[\x00\u202a-\u202e\u2066-\u2069]", source)


def test_what_is_no_jpeg_is_never_shown_as_a_picture() -> None:
    record = chess_record()
    claims = ("", "not base64!", base64.b64encode(b"<svg onload=alert(1)>").decode(), "é")
    pictures = tuple(Picture(f"{i}.jpg", "said", claim, claim) for i, claim in enumerate(claims))
    result = replace(record.targets["label"], sections=(Gallery("Mistakes", pictures),))
    page = read(replace(record, targets={"label": result}))
    assert page.all("img") == []
    assert page.text.count("no picture kept") == len(claims)


def test_labels_stand_in_their_own_direction() -> None:
    source = render_html(hostile_record())
    label = "مرحبا بالعالم \ufffdevil\ufffd"
    assert source.count(label) > 10
    labelled = re.findall(r'<span class="label">(.*?)</span>', source)
    assert len(labelled) > 20
    assert all(inside.startswith("<bdi>") and inside.endswith("</bdi>") for inside in labelled)


# --- the record's own numbers -----------------------------------------------------------------------------


def test_every_metric_is_shown_with_its_interval_and_its_baseline() -> None:
    text = read(chess_record()).text
    for shown in ("81.1 %", "72.8 to 87.3 %", "80.1 %", "71.8 to 85.6 %", "0.613", "0.481 to 0.754", "4.1 %"):
        assert shown in text.replace("\u00a0", " "), shown
    for shown in (
        "most frequent class: 18.9 %",
        "most frequent class: 1.782",
        "validation: 74.3 %",
        "validation accuracy",
    ):
        assert shown in text.replace("\u00a0", " "), shown


def test_the_matrix_holds_every_count_in_its_place() -> None:
    source = render_html(chess_record())
    (table,) = re.findall(r'<table class="heat">(.*?)</table>', source, re.S)
    rows = re.findall(r'<tr><th scope="row">(.*?)</tr>', table, re.S)
    counts = [[int(n) for n in re.findall(r'<td class="(?:right|wrong) h\d+">(\d+)', row)] for row in rows]
    matrix = chess_record().targets["label"].sections[0]
    assert counts == [list(row) for row in matrix.counts]  # type: ignore[union-attr]
    assert [int(n) for n in re.findall(r'class="total">(\d+)', table)] == [17, 15, 21, 21, 16, 21]
    assert "82 %" in words_of(rows[0])


def test_a_hundred_classes_are_all_there_with_their_cells_in_words() -> None:
    page = read(wide_record())
    assert page.text.count("species 099") >= 3
    assert sum(a.get("class", "").startswith(("right", "wrong")) for a in page.all("td")) == 100 * 100
    titles = [a["title"] for a in page.all("td") if "title" in a]
    assert len(titles) > 100
    assert all(re.search(r"taken for .*: \d+ of \d+", title) for title in titles)


def test_mistakes_are_shown_with_picture_caption_and_name() -> None:
    gallery = chess_record().targets["label"].sections[2]
    assert isinstance(gallery, Gallery)
    page = read(plain_record())
    shown = [encoded for p in gallery.pictures for encoded in (p.jpeg_base64, p.heat_base64)]
    assert [a["src"].split(",")[1] for a in page.all("img")] == shown
    assert [a.get("class") for a in page.all("img")] == [None, "looks"] * len(gallery.pictures)
    assert len(gallery.pictures) == 13
    for picture in gallery.pictures:
        assert picture.caption in page.text
        assert picture.key in page.text


def test_everything_needed_to_make_it_again_is_there() -> None:
    record = chess_record()
    text = read(record).text
    trunk = record.trunk
    needed = [record.command, record.topwork, record.created, record.recipe, *record.settings.values()]
    needed += [trunk.name, trunk.licence, trunk.source, trunk.weights_sha256, "3,371,024", "224 × 224"]
    needed += [record.split.method, "440", "111", "1.9", "C = 0.003 of 8 tried"]
    for part in needed:
        assert part in text, part


def test_data_findings_classes_and_rejected_inputs_are_told() -> None:
    record = chess_record()
    text = read(record).text.replace("\u00a0", " ")
    assert "551 of 556 inputs could be used." in text
    assert "6 classes, 551 examples" in text
    for line in (*record.data.understood, *record.data.findings):
        assert line in text
    for one in record.data.rejected:
        assert one.key in text
        assert one.reason in text


def test_a_flood_of_rejected_inputs_is_cut_and_counted() -> None:
    record = chess_record()
    flood = tuple(Rejected(f"broken-{i:05d}.jpg", "empty") for i in range(5000))
    text = read(replace(record, data=replace(record.data, rejected=flood))).text.replace("\u00a0", " ")
    assert text.count("broken-") == 1000
    assert "5,000 inputs could not be used" in text
    assert "the first 1,000 of 5,000" in text


def test_cautions_come_before_the_first_number() -> None:
    text = read(evaluation_record()).text.replace("\u00a0", " ")
    first_number = text.index("25.0 %")
    for caution in (
        "only 20 examples",
        "not shown to be better than guessing",
        "valid/ was used as the test",
    ):
        assert text.index(caution) < first_number
    assert "Read this first" not in read(chess_record()).text


def test_a_licence_without_commerce_stands_out_twice() -> None:
    record = chess_record()
    text = read(replace(record, trunk=replace(record.trunk, commercial=False, licence="CC-BY-NC-4.0"))).text
    assert "excludes commercial use (CC-BY-NC-4.0)" in text
    assert "No commercial use." in text
    assert "No commercial use." not in read(record).text


def test_every_target_has_a_section_of_its_own() -> None:
    text = read(two_target_record()).text
    assert "How good it is: piece" in text
    assert "How good it is: colour" in text
    assert text.count("Fitting took") == read(chess_record()).text.count("Fitting took") == 1
    assert "How good it is: label" not in read(chess_record()).text


def test_an_evaluation_and_an_unmeasured_fit_render_without_invented_numbers() -> None:
    evaluation, unmeasured = read(evaluation_record()).text, read(unmeasured_record()).text
    assert "Evaluation report" in evaluation
    assert "first model after" not in evaluation
    assert "The climb" not in evaluation
    assert "Against other models" not in evaluation
    assert "validation:" not in evaluation
    assert "unknown" in unmeasured
    assert "nan" not in unmeasured.lower()


# --- the proof --------------------------------------------------------------------------------------------


def shown_of(record: FitRecord) -> str:
    return read(record).text.replace("\u00a0", " ")


def test_every_comparison_is_told_with_its_difference_its_cost_and_how_it_was_made() -> None:
    text = shown_of(chess_record())
    for one in chess_record().targets["label"].comparisons:
        assert one.how in text
    for part in (
        "On the same 111 test examples, row by row",
        "better by 29.7 points",
        "20.1 to 39.1",
        "no difference shown",
        "1.8 points, −2.7 to 6.3",
        "its accuracy: 51.3 %",
        "its fit: 61.3 s",
        "better by 0.071",
        "most frequent class: 18.9 %",
    ):
        assert part in text, part
    drawn = [a["aria-label"] for a in read(chess_record()).all("svg") if "aria-label" in a]
    assert len([words for words in drawn if "points, " in words]) == 4


def test_a_chart_is_drawn_named_and_there_in_numbers() -> None:
    page = read(chess_record())
    plots = [a for a in page.all("svg") if a.get("class") == "plot"]
    assert len(plots) == 5
    assert "fitted curve, 95 % range: from 51.3 % at 44 to 83.5 % at 880" in plots[0]["aria-label"].replace(
        "\u00a0", " "
    )
    growth = chess_record().targets["label"].growth
    assert growth is not None
    n_points = sum(len(one.points) for one in growth.chart.series)
    first = render_html(chess_record()).split('class="plot"')[1]
    assert first.count("data-spot") == first.count("<title>") == n_points
    assert first.split("</table>")[0].count('<th scope="row">') == n_points
    assert len(re.findall(r"NaN|nan%|inf%", render_html(hostile_record()))) == 0


def test_growth_is_told_beside_its_chart() -> None:
    text = shown_of(chess_record())
    assert (
        text.count(
            "Twice the labelled examples (880 instead of 440) would help: a gain in accuracy of about 4.7 points"
        )
        == 2
    )
    assert "Measured with a linear head on the frozen network" in text
    assert "Twice the labelled" not in shown_of(plain_record())


def test_the_climb_says_what_each_step_gained_cost_and_which_was_chosen() -> None:
    source = render_html(chess_record())
    (climb,) = re.findall(r'<table class="plain climb">(.*?)</table>', source, re.S)
    rows = [words_of(row) for row in re.findall(r"<tr.*?</tr>", climb, re.S)][1:]
    rows = [row.replace("\u00a0", " ") for row in rows]
    assert len(rows) == 3
    assert [("chosen" in row) for row in rows] == [False, True, False]
    for part in ("23.4 s", "78.6 %", "0.620", "0.539 to 0.702", "better by 0.101", "41.2 %", "410"):
        assert part in rows[1], part
    assert "no gain shown" in rows[2]
    old = re.findall(r'<table class="plain climb">(.*?)</table>', render_html(plain_record()), re.S)[0]
    assert "gain in log loss" in climb
    assert "gain in log loss" not in old, "what an old record does not hold has no column"


def test_plan_forecasts_and_the_time_of_the_proof_are_told() -> None:
    text = shown_of(chess_record())
    for part in (
        "410 steps of 32, AdamW",
        "48.0 s to 95.0 s",
        "720 MB to 1.1 GB",
        "more than expected",
        "1 of 2 forecasts held",
        "the proof, beside the fit",
        "87.0 s",
        "growth 19.7 s",
    ):
        assert part in text, part
    for part in ("Forecasts", "The plan", "beside the fit"):
        assert part not in shown_of(plain_record())


def test_sentences_come_first_then_pictures_then_how_to_make_it_again() -> None:
    text = shown_of(chess_record())
    places = [
        text.index(part)
        for part in (
            "it is right 81.1 %",
            "That was measured on",
            "What it confuses most",
            "What would help first",
            "Fitting took",
            "Against other models",
            "How the score grows",
            "Confusion matrix",
            "Most confident mistakes",
            "The climb",
            "topwork fit photos/Chess",
        )
    ]
    assert places == sorted(places)


def test_that_a_simpler_model_is_as_good_is_the_first_thing_said() -> None:
    text = shown_of(beaten_record())
    said = text.index("not shown to be better than the classical baseline")
    assert said < text.index("81.1 %")
    assert "This model is worse than the classical baseline" in shown_of(beaten_record(worse=True))


def test_scores_are_of_the_rows_that_have_a_label() -> None:
    assert "Measured on 104 test examples" in shown_of(two_target_record())
    assert "Measured on 111 test examples" in shown_of(plain_record())


def test_a_gallery_offers_only_what_its_pictures_have() -> None:
    with_all, without = render_html(chess_record()), render_html(hostile_record())
    with_all = with_all.split("<script>")[0]
    assert with_all.count("data-swaps") == 1, "only the gallery that has heat pictures"
    assert with_all.count('data-by="truth"') == with_all.count('data-by="predicted"') == 2
    assert 'data-probability="0.97"' in with_all
    record = chess_record()
    bare = Gallery("Mistakes", (Picture("a.jpg", "said a"), Picture("b.jpg", "said b")))
    result = replace(record.targets["label"], sections=(bare,))
    source = render_html(replace(record, targets={"label": result}))
    for absent in ("data-by", "data-swaps", "surest first", "by true label"):
        assert absent not in source.split("<script>")[0]
    assert "surest first" in without


def test_the_same_record_renders_the_same_page() -> None:
    assert render_html(chess_record()) == render_html(chess_record())
    assert len(HOSTILE_TEXTS) == 10


def test_words_are_shown_as_text_and_marked_by_how_much_they_speak() -> None:
    record = chess_record()
    pieces = (Piece("<b>awful</b>", -0.9), Piece(" and ", 0.05), Piece("good", 0.3), Piece("!", 1.0))
    gallery = Gallery("Mistakes", (Picture("row 1", "said good", pieces=pieces),))
    result = replace(record.targets["label"], sections=(gallery,))
    told = render_html(replace(record, targets={"label": result}))
    assert (
        '<mark class="against w4" title="speaks against it: -0.90">&lt;b&gt;awful&lt;/b&gt;</mark> and '
        in told
    )
    assert '<mark class="for w2" title="speaks for it: +0.30">good</mark>' in told
    assert '<mark class="for w4" title="speaks for it: +1.00">!</mark></blockquote>' in told
    assert 'class="gallery texts"' in told
    assert "no picture kept" not in told
