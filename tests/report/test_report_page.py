"""The page in a real browser: phone and desktop, light and dark, with the script and without."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

import browser as browsers
from records import (
    beaten_record,
    chess_record,
    evaluation_record,
    hostile_record,
    plain_record,
    two_target_record,
    unmeasured_record,
    wide_record,
)
from topwork.contracts import FitRecord
from topwork.report.html import render_html

pytestmark = pytest.mark.browser

chromium = pytest.fixture(scope="module")(browsers.chromium)

RECORDS = (
    *(chess_record, plain_record, beaten_record, hostile_record, wide_record, two_target_record),
    *(evaluation_record, unmeasured_record),
)

CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const paint = (layers) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const layer of layers) { canvas.fillStyle = layer; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const low = [];
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || ["SCRIPT", "STYLE", "OPTION"].includes(element.tagName)) continue;
    if (!element.getClientRects().length) continue;
    const color = getComputedStyle(element).color;
    if (color === "rgba(0, 0, 0, 0)") continue;
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.unshift(getComputedStyle(at).backgroundColor);
    const [a, b] = [light(paint(layers)), light(paint([...layers, color]))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    seen += 1;
    if (ratio < 4.5) low.push([node.data.trim().slice(0, 40), Math.round(ratio * 100) / 100]);
  }
  return { seen, low };
}"""


def opened(
    browser: Browser,
    folder: Path,
    record: FitRecord,
    *,
    width_px: int = 1280,
    scheme: Literal["light", "dark"] = "light",
    script: bool = True,
) -> tuple[Page, list[str]]:
    """Open a rendered record from a file; the list fills with whatever the page complains of or asks for."""
    file = folder / "report.html"
    file.write_text(render_html(record), encoding="utf-8")
    context = browser.new_context(
        viewport={"width": width_px, "height": 900}, color_scheme=scheme, java_script_enabled=script
    )
    page = context.new_page()
    troubles = browsers.outside_requests(page)
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(dialog.message))
    page.goto(file.as_uri())
    return page, troubles


@pytest.mark.parametrize("width_px", [390, 1280])
@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_it_is_quiet_and_fits_the_window(
    chromium: Browser, tmp_path: Path, record: Callable[[], FitRecord], width_px: int
) -> None:
    page, troubles = opened(chromium, tmp_path, record(), width_px=width_px)
    assert page.evaluate("document.documentElement.scrollWidth") == width_px
    assert troubles == []
    assert page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("record", [chess_record, beaten_record, evaluation_record], ids=lambda r: r.__name__)
def test_every_text_can_be_read(
    chromium: Browser, tmp_path: Path, record: Callable[[], FitRecord], scheme: Literal["light", "dark"]
) -> None:
    page, _ = opened(chromium, tmp_path, record(), scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    found = page.evaluate(CONTRAST)
    assert found["seen"] > 150
    assert found["low"] == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 23, 22)"
    assert dark is (scheme == "dark")
    page.context.close()


def test_mistakes_are_filtered_and_sorted(chromium: Browser, tmp_path: Path) -> None:
    page, troubles = opened(chromium, tmp_path, plain_record())
    shown = page.locator(".gallery li:visible")
    assert shown.count() == 13
    page.get_by_label("Show only").first.fill("said queen")
    assert shown.count() == 2
    assert page.locator("[role=status]").first.inner_text() == "2 of 13 shown"
    page.get_by_label("Show only").first.fill("")
    given = shown.all_inner_texts()
    page.get_by_label("Order").select_option("key")
    keys = page.locator(".gallery .file").all_inner_texts()
    assert keys == sorted(keys)
    page.get_by_label("Order").select_option("caption")
    said = page.locator(".gallery .said").all_inner_texts()
    assert said == sorted(said)
    page.get_by_label("Order").select_option("")
    assert shown.all_inner_texts() == given
    assert troubles == []
    page.context.close()


def test_what_was_left_out_is_folded_and_searched(chromium: Browser, tmp_path: Path) -> None:
    page, _ = opened(chromium, tmp_path, plain_record())
    rows = page.locator("#rejected-items tr:visible")
    assert rows.count() == 0
    page.get_by_text("5 inputs could not be used").first.scroll_into_view_if_needed()
    page.locator("summary").click()
    assert rows.count() == 5
    page.locator("[data-filters=rejected-items]").fill("empty")
    assert rows.all_inner_texts()[0].startswith("Pawn/00000113.gif")
    assert rows.count() == 1
    page.context.close()


def test_without_its_script_everything_is_shown_and_no_control_is_dead(
    chromium: Browser, tmp_path: Path
) -> None:
    page, _ = opened(chromium, tmp_path, chess_record(), script=False)
    assert page.locator(".gallery li:visible").count() == 13 + 4
    assert page.locator(".gallery img:visible").count() == 13 + 13 + 4, "also where it looks"
    assert page.locator("input:visible, select:visible").count() == 0
    assert page.locator(".plot").count() == 5
    assert page.locator(".plot title").count() > 50, "what the browser shows by itself"
    page.context.close()


def test_a_wide_matrix_keeps_its_labels_in_sight(chromium: Browser, tmp_path: Path) -> None:
    page, _ = opened(chromium, tmp_path, wide_record(), width_px=390)
    region = page.locator(".scroll:has(> .heat)").first
    region.evaluate("(box) => box.scrollTo(1500, 900)")
    box = region.bounding_box()
    row = page.locator(".heat tbody tr").nth(40).locator("th").bounding_box()
    column = page.locator(".heat thead th").nth(60).bounding_box()
    assert box is not None
    assert row is not None
    assert column is not None
    assert row["x"] == pytest.approx(box["x"], abs=2)
    assert column["y"] == pytest.approx(box["y"], abs=2)
    page.context.close()


def test_the_keyboard_reaches_everything_that_scrolls_or_folds(chromium: Browser, tmp_path: Path) -> None:
    page, _ = opened(chromium, tmp_path, chess_record())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.getAttribute('class') || document.activeElement.tagName")
        )
    assert {"scroll", "SUMMARY", "INPUT", "SELECT", "PRE", "plot"} <= reached
    page.context.close()


def test_mistakes_are_filtered_by_label_and_sorted_by_sureness(chromium: Browser, tmp_path: Path) -> None:
    page, troubles = opened(chromium, tmp_path, plain_record())
    shown = page.locator(".gallery li:visible")
    page.locator("[data-by=truth]").select_option("Queen")
    assert shown.count() == 3
    page.locator("[data-by=predicted]").select_option("King")
    assert shown.count() == 1
    assert "is Queen, said King" in shown.inner_text()
    assert page.locator("[role=status]").first.inner_text() == "1 of 13 shown"
    page.locator("[data-by=truth]").select_option("")
    assert {text.split(" said ")[1].split()[0] for text in shown.all_inner_texts()} == {"King"}
    page.get_by_label("Show only").first.fill("bishop")
    assert shown.count() == 1, "all three together"
    page.locator("[data-by=predicted]").select_option("")
    page.get_by_label("Show only").first.fill("")
    assert page.locator("[role=status]").first.inner_text() == ""
    order = page.get_by_label("Order")
    order.select_option("truth")
    truths = [str(t) for t in shown.evaluate_all("(all) => all.map((one) => one.dataset.truth)")]
    assert truths == sorted(truths)
    order.select_option("probability")
    sure = shown.evaluate_all("(all) => all.map((one) => Number(one.dataset.probability))")
    assert sure == sorted(sure, reverse=True)
    assert len(sure) == 13
    assert troubles == []
    page.context.close()


def test_a_switch_shows_where_it_looks(chromium: Browser, tmp_path: Path) -> None:
    page, troubles = opened(chromium, tmp_path, chess_record())
    photos, looks = page.locator(".gallery img:not(.looks)"), page.locator(".gallery img.looks")
    assert (photos.count(), looks.count()) == (13 + 4, 13)
    assert page.locator(".gallery img:visible").count() == 13 + 4
    page.get_by_label("Show where it looks").focus()
    page.keyboard.press("Space")
    assert page.locator(".gallery img.looks:visible").count() == 13
    assert page.locator(".gallery img:not(.looks):visible").count() == 4, "a picture without one stays"
    page.keyboard.press("Space")
    assert page.locator(".gallery img.looks:visible").count() == 0
    assert troubles == []
    page.context.close()


def test_a_chart_tells_its_points_under_the_pointer_and_by_the_arrow_keys(
    chromium: Browser, tmp_path: Path
) -> None:
    page, troubles = opened(chromium, tmp_path, chess_record())
    area = page.locator(".area").first
    plot, tip = area.locator(".plot"), area.locator(".tip")
    assert not tip.is_visible()
    assert plot.get_attribute("tabindex") == "0", "Chromium would take the focus without it, others would not"
    plot.focus()
    page.keyboard.press("End")
    assert (
        tip.inner_text().replace("\u00a0", " ") == "measured, least to most: 79.4 % (75.3 to 81.8 %) at 440"
    )
    page.keyboard.press("ArrowLeft")
    assert tip.inner_text().endswith("at 352")
    assert area.locator(".held").count() == 1
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    box = plot.bounding_box()
    assert box is not None
    plot.hover(position={"x": 3, "y": box["height"] - 3})
    assert tip.inner_text().endswith("at 44")
    page.mouse.move(0, 0)
    assert not tip.is_visible()
    assert troubles == [], "the policy of the page allows what the script does"
    page.context.close()


@pytest.mark.parametrize("width_px", [390, 1280])
def test_what_a_chart_says_stays_within_the_page(chromium: Browser, tmp_path: Path, width_px: int) -> None:
    page, _ = opened(chromium, tmp_path, chess_record(), width_px=width_px)
    n_seen = 0
    for area in page.locator(".area").all():
        area.locator(".plot").focus()
        for key in ("Home", "End"):
            page.keyboard.press(key)
            box = area.locator(".tip").bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width_px
            n_seen += 1
    assert n_seen == 10
    assert page.evaluate("document.documentElement.scrollWidth") == width_px
    page.context.close()


@pytest.mark.parametrize("width_px", [390, 1280])
def test_ticks_of_a_chart_do_not_run_into_each_other(
    chromium: Browser, tmp_path: Path, width_px: int
) -> None:
    page, _ = opened(chromium, tmp_path, chess_record(), width_px=width_px)
    n_seen = 0
    for axis in page.locator(".x-ticks").all():
        boxes = [box for tick in axis.locator("text:visible").all() if (box := tick.bounding_box())]
        n_seen += len(boxes)
        for one, after in itertools.pairwise(boxes):
            assert one["x"] + one["width"] + 2 < after["x"]
    assert n_seen >= 15
    page.context.close()


def test_it_prints_in_full_and_on_white(chromium: Browser, tmp_path: Path) -> None:
    page, _ = opened(chromium, tmp_path, chess_record(), scheme="light")
    page.emulate_media(media="print")
    assert page.locator("nav:visible, .tools:visible").count() == 0
    assert page.locator(".scroll").first.evaluate("(box) => getComputedStyle(box).overflow") == "visible"
    assert len(page.pdf()) > 10_000
    page.context.close()
