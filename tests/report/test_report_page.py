"""The page in a real browser: phone and desktop, light and dark, with the script and without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

import browser as browsers
from records import chess_record, evaluation_record, hostile_record, two_target_record, wide_record
from topwork.contracts import FitRecord
from topwork.report.html import render_html

pytestmark = pytest.mark.browser

chromium = pytest.fixture(scope="module")(browsers.chromium)

RECORDS = (chess_record, hostile_record, wide_record, two_target_record, evaluation_record)

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
@pytest.mark.parametrize("record", [chess_record, evaluation_record], ids=lambda r: r.__name__)
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
    page, troubles = opened(chromium, tmp_path, chess_record())
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
    page, _ = opened(chromium, tmp_path, chess_record())
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
    assert page.locator(".gallery li:visible").count() == 13
    assert page.locator("input:visible, select:visible").count() == 0
    page.context.close()


def test_a_wide_matrix_keeps_its_labels_in_sight(chromium: Browser, tmp_path: Path) -> None:
    page, _ = opened(chromium, tmp_path, wide_record(), width_px=390)
    region = page.locator(".scroll").first
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
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.className || document.activeElement.tagName"))
    assert {"scroll", "SUMMARY", "INPUT", "SELECT", "PRE"} <= reached
    page.context.close()


def test_it_prints_in_full_and_on_white(chromium: Browser, tmp_path: Path) -> None:
    page, _ = opened(chromium, tmp_path, chess_record(), scheme="light")
    page.emulate_media(media="print")
    assert page.locator("nav:visible, .tools:visible").count() == 0
    assert page.locator(".scroll").first.evaluate("(box) => getComputedStyle(box).overflow") == "visible"
    assert len(page.pdf()) > 10_000
    page.context.close()
