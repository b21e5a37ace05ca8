"""The page and the API reference, as a person meets them: in a real browser, on a real server."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, Page, expect

from browser import chromium, find, missing, outside_requests
from doors import keyed_door, made
from fake_servable import PICTURE, TEXT, FakeServable
from topwork.contracts import Answer
from topwork.serving.app import application
from topwork.serving.http.keyring import revoke
from topwork.serving.server import listen, url_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from topwork.contracts import Json
    from topwork.serving.http.door import Door
    from topwork.serving.limits import Limits

pytestmark = pytest.mark.browser
browser = pytest.fixture(scope="module")(chromium)

# A valid picture of one green pixel, so that the preview has something to show.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360f8cff01f0003000180b5a4d4d20000000049454e44ae426082"
)


@contextmanager
def serving(
    servable: FakeServable, limits: Limits | None = None, *, door: Door | None = None
) -> Iterator[str]:
    """Serve from a thread of this process."""
    import asyncio

    from topwork.serving.http.http11 import server

    with listen("127.0.0.1", 0) as listener:
        one = server(application(servable, limits, door=door))
        thread = threading.Thread(target=lambda: asyncio.run(one.serve(sockets=[listener])))
        thread.start()
        try:
            yield url_of(listener)
        finally:
            one.should_exit = True
            thread.join(20)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(FakeServable()) as here:
        yield here


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


def photos(folder: Path, **contents: bytes) -> list[str]:
    for name, content in contents.items():
        (folder / f"{name}.png").write_bytes(content)
    return [str(folder / f"{name}.png") for name in contents]


def test_chosen_files_get_their_label_bars_and_time(page: Page, url: str, tmp_path: Path) -> None:
    outside = outside_requests(page, url)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    expect(page.locator("#state")).to_have_text("ready")
    expect(page.locator("#choose")).to_have_text("Choose photos")
    page.set_input_files("#input", photos(tmp_path, a=PIXEL, b=b"bad one", c=b"x" * 3))
    results = page.locator(".result[data-state]")
    expect(results).to_have_count(3)
    good = page.locator(".result", has_text="a.png")
    expect(good.locator(".headline")).to_have_text(
        ["Bishop", "King", "Knight", "Pawn", "Queen", "Rook"][len(PIXEL) % 6]
    )
    expect(good.locator(".bars li:visible")).to_have_count(6)
    expect(good.locator(".bars .best .number")).to_have_text("70.0 %")
    expect(good.locator(".meta span").last).to_contain_text(" ms")
    assert good.locator("img").evaluate("image => image.naturalWidth") == 1
    bad = page.locator(".result", has_text="b.png")
    expect(bad.locator(".error")).to_contain_text("It is no photo")
    expect(bad.locator(".error small")).to_have_text("Send a photo.")
    assert page.locator("#spoken").inner_text()
    assert (outside, errors) == ([], [])


def test_files_may_be_dropped_and_pasted(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator("#choose")).to_have_text("Choose photos")
    for kind, holder in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        page.evaluate(
            """([kind, holder]) => {
                const files = new DataTransfer();
                files.items.add(new File(["xy"], kind + ".png", {type: "image/png"}));
                const event = new Event(kind, {bubbles: true, cancelable: true});
                Object.defineProperty(event, holder, {value: files});
                document.body.dispatchEvent(event);
            }""",
            [kind, holder],
        )
        expect(page.locator(".result[data-state=answered]", has_text=f"{kind}.png")).to_have_count(1)


def test_what_is_too_large_is_not_even_sent(page: Page, url: str, tmp_path: Path) -> None:
    page.goto(url)
    expect(page.locator("#choose")).to_have_text("Choose photos")
    page.set_input_files("#input", photos(tmp_path, huge=b"x" * (PICTURE.max_bytes + 1)))
    expect(page.locator(".result .error")).to_contain_text("at most 1,048,576")


def test_a_name_that_looks_like_markup_stays_text(browser: Browser, tmp_path: Path) -> None:
    name = "<img src=x onerror=document.title='hacked'>"
    with serving(FakeServable(name=name)) as here:
        page = browser.new_page()
        page.goto(here)
        expect(page.locator("#name")).to_have_text(name)
        page.goto(f"{here}/docs")
        expect(page.locator("#title")).to_contain_text(name)
        assert page.title() == "API reference · topwork"
        page.close()


def test_text_gets_a_field_of_its_own(browser: Browser) -> None:
    with serving(FakeServable(wire=TEXT)) as here:
        page = browser.new_page()
        page.goto(here)
        field = page.get_by_label("One sentence")
        field.fill("Grüße aus dem Wald")
        field.press("Control+Enter")
        expect(page.locator(".headline")).to_have_text("Knight")
        expect(page.locator(".seen")).to_have_text("Grüße aus dem Wald")
        expect(page.locator("#drop")).not_to_be_visible()
        expect(page.locator("#snippet")).to_contain_text('{"input": "Some sentence"}')
        page.close()


class Priced(FakeServable):
    """Answers numbers: with bounds, without, and of two targets."""

    def _answers(self, index: int, given: bytes) -> Iterator[Answer]:
        price: Mapping[str, Json] = {"value": 3.21581, "low": 2.1, "high": 4.5}
        free: Mapping[str, Json] = {"value": -7.0, "low": None, "high": None}
        told = {b"one": price, b"free": free, b"both": {"price": price, "change": free}}
        yield Answer(index, told[given])


def test_a_number_is_told_with_its_bounds_and_without_bars(browser: Browser) -> None:
    with serving(Priced(wire=TEXT)) as here:
        page = browser.new_page()
        page.goto(here)
        for words, heads, spans in (
            ("one", ["3.216"], ["between 2.1 and 4.5"]),
            ("free", ["-7"], []),
            ("both", ["3.216", "-7"], ["between 2.1 and 4.5"]),
        ):
            page.get_by_label("One sentence").fill(words)
            page.get_by_role("button", name="Ask the model").click()
            said = page.locator(".result[data-state=answered]", has_text=words).first
            expect(said.locator(".headline")).to_have_text(heads)
            expect(said.locator("p.small")).to_have_text(spans)
            expect(said.locator(".bars")).to_have_count(0)
        page.close()


class Risky(FakeServable):
    """Answers risks: with a band and what is left, and without."""

    def _answers(self, index: int, given: bytes) -> Iterator[Answer]:
        left: list[Json] = [{"time": 12.5, "probability": 0.9}, {"time": 100, "probability": 0.25}]
        told: dict[bytes, Mapping[str, Json]] = {
            b"banded": {"risk": 2.31415, "band": "high", "survival": left},
            b"bare": {"risk": 0.5, "band": None, "survival": []},
        }
        yield Answer(index, told[given])


def test_a_risk_is_told_with_its_band_and_what_is_left_at_each_time(browser: Browser) -> None:
    with serving(Risky(wire=TEXT)) as here:
        page = browser.new_page()
        page.goto(here)
        for words, head, bars in (
            ("banded", "high risk", ["at 12.590.0 %", "at 10025.0 %"]),
            ("bare", "0.5 times the average risk", []),
        ):
            page.get_by_label("One sentence").fill(words)
            page.get_by_role("button", name="Ask the model").click()
            said = page.locator(".result[data-state=answered]", has_text=words).first
            expect(said.locator(".headline")).to_have_text(head)
            expect(said.locator(".bars li")).to_have_text(bars)
        banded = page.locator(".result", has_text="banded")
        expect(banded.locator("p.small")).to_have_text("2.314 times the average risk")
        page.close()


def test_a_text_is_asked_what_drove_its_answer(browser: Browser) -> None:
    with serving(FakeServable(wire=TEXT)) as here:
        page = browser.new_page()
        page.goto(here)
        page.get_by_label("One sentence").fill("<b>Grüße</b> Wald")
        page.get_by_role("button", name="Ask the model").click()
        page.get_by_role("button", name="What drove this?").click()
        expect(page.locator(".drove mark")).to_have_text(["<b>Grüße</b>", "Wald"])
        expect(page.locator(".drove mark").first).to_have_class("for w2")
        expect(page.get_by_role("button", name="What drove this?")).to_have_count(0)
        page.close()


def test_a_model_that_cannot_tell_is_not_asked_what_drove_its_answer(
    page: Page, url: str, tmp_path: Path
) -> None:
    page.goto(url)
    page.set_input_files("#input", photos(tmp_path, one=b"abc"))
    expect(page.locator(".result[data-state=answered]")).to_have_count(1)
    expect(page.get_by_role("button", name="What drove this?")).to_have_count(0)


def test_the_model_tells_how_good_it_is(page: Page, url: str) -> None:
    page.goto(url)
    facts = page.locator("#facts")
    expect(facts.locator(".score")).to_have_text("81.1 %")
    expect(facts).to_contain_text("95 % interval 73.5 % to 86.9 %; baseline (majority class) 19.0 %")
    expect(facts.locator(".chips li")).to_have_count(6)
    expect(facts).to_contain_text("efficientnet-lite0")


def test_snippets_name_this_server_and_can_be_reached_by_keyboard(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator("#snippet")).to_have_text(f"curl -F file=@photo.jpg {url}/predict")
    page.locator("#tab-curl").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-python")).to_be_focused()
    expect(page.locator("#tab-python")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#snippet")).to_contain_text(f'requests.post("{url}/predict"')
    page.locator("#copy").click()
    expect(page.locator("#copy")).not_to_have_text("Copy")


def test_everything_can_be_used_without_a_mouse(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator("#choose")).to_have_text("Choose photos")
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"A", "choose", "tab-curl", "copy", "SUMMARY"} <= set(reached)
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, textarea, select, a')]"
        ".filter((one) => !(one.innerText || one.ariaLabel || one.labels?.length)).length"
    )
    assert unnamed == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_the_screen_and_can_be_read(
    browser: Browser, url: str, tmp_path: Path, width: int, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    page, visited = context.new_page(), 0
    for path in ("/", "/docs"):
        page.goto(url + path)
        if path == "/":
            expect(page.locator("#state")).to_have_text("ready")
            page.set_input_files("#input", photos(tmp_path, **{"long " * 20: PIXEL, "bad": b"bad"}))
            expect(page.locator(".result[data-state]")).to_have_count(2)
        else:
            expect(page.locator("main details.card")).to_have_count(22)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        low = page.evaluate(CONTRAST)
        assert not low, low
        visited += 1
    assert visited == 2
    context.close()


# Every text against the nearest ground that is not transparent, by WCAG's formula; 4.5 is level AA.
CONTRAST = """() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const linear = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = channels(color).slice(0, 3).map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if ((channels(color)[3] ?? 1) > 0.99) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const low = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || ["SCRIPT", "STYLE"].includes(node.tagName)) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push([node.tagName, node.textContent.trim().slice(0, 30), ratio.toFixed(2)]);
  }
  return low;
}"""


def test_the_reference_can_be_tried(page: Page, url: str, tmp_path: Path) -> None:
    outside = outside_requests(page, url)
    page.goto(f"{url}/docs")
    first = page.locator("main details.card").first
    first.locator("input[type=file]").set_input_files(photos(tmp_path, a=b"12", b=b"bad"))
    first.get_by_role("button", name="Send").click()
    expect(first.locator("pre[aria-live]")).to_contain_text('"n_bytes": 2')
    other = page.locator("main details.card", has_text="/v1/models/{name}/predict")
    other.locator("summary").first.click()
    expect(other.locator("pre").first).to_have_text(f"curl -F file=@FILE {url}/v1/models/chess/predict")
    assert outside == []


def test_a_server_with_keys_asks_for_one_and_takes_it(browser: Browser, tmp_path: Path) -> None:
    key = made(tmp_path / "keys.json", "page")
    with serving(FakeServable(), door=keyed_door(tmp_path / "keys.json")) as here:
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(here)
        field = page.get_by_label("This server asks for an API key")
        field.fill("wrong")
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#refused")).to_have_text("This key is not known here.")
        field.fill(f"  {key} ")
        field.press("Enter")
        expect(page.locator("#name")).to_have_text("chess")
        expect(field).not_to_be_visible()
        expect(page.locator("#snippet")).to_have_text(
            f'curl -H "X-API-Key: $KEY" -F file=@photo.jpg {here}/predict'
        )
        page.set_input_files("#input", photos(tmp_path, a=PIXEL))
        expect(page.locator(".result[data-state=answered]")).to_have_count(1)
        assert key not in page.content()
        page.reload()
        expect(page.locator("#name")).to_have_text("chess")
        page.goto(f"{here}/docs")
        expect(page.get_by_label("API key")).to_have_value(key)
        first = page.locator("main details.card").first
        expect(first.locator("pre").first).to_have_text(
            f'curl -H "X-API-Key: $KEY" -F file=@FILE {here}/predict'
        )
        first.locator("input[type=file]").set_input_files(photos(tmp_path, b=b"12"))
        first.get_by_role("button", name="Send").click()
        expect(first.locator("pre[aria-live]")).to_contain_text('"n_bytes": 2')
        assert errors == []
        page.close()


def test_a_key_that_ends_while_a_page_is_open_is_asked_for_again(browser: Browser, tmp_path: Path) -> None:
    key = made(tmp_path / "keys.json", "page")
    with serving(FakeServable(), door=keyed_door(tmp_path / "keys.json")) as here:
        page = browser.new_page()
        page.goto(here)
        page.get_by_label("This server asks for an API key").fill(key)
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#name")).to_have_text("chess")
        revoke(tmp_path / "keys.json", "page")
        page.set_input_files("#input", photos(tmp_path, a=PIXEL))
        expect(page.locator(".result .error")).to_contain_text("This key is not known here.")
        expect(page.locator("#refused")).to_have_text("The server does not take this key.")
        page.close()


def test_a_server_that_is_not_ready_says_so_and_then_answers(browser: Browser, tmp_path: Path) -> None:
    proven = threading.Event()

    def proof() -> None:
        assert proven.wait(60)

    with serving(FakeServable(proof=proof)) as here:
        page = browser.new_page()
        page.goto(here)
        expect(page.locator("#state")).to_have_text("warming up")
        expect(page.locator("#choose")).to_have_text("Choose photos")
        page.set_input_files("#input", photos(tmp_path, early=b"x"))
        proven.set()
        expect(page.locator("#state")).to_have_text("ready", timeout=15_000)
        expect(page.locator(".result[data-state=answered]")).to_have_count(1, timeout=15_000)
        page.close()


def test_a_server_that_went_away_is_told_kindly(browser: Browser, tmp_path: Path) -> None:
    page = browser.new_page()
    with serving(FakeServable()) as here:
        page.goto(here)
        expect(page.locator("#choose")).to_have_text("Choose photos")
    page.set_input_files("#input", photos(tmp_path, late=b"x"))
    expect(page.locator(".error")).to_contain_text("could not be reached")
    page.close()


def test_without_a_browser_a_test_skips_but_fails_in_continuous_integration() -> None:
    with pytest.raises(pytest.skip.Exception, match="no Chromium"):
        missing({})
    with pytest.raises(pytest.fail.Exception, match="no Chromium"):
        missing({"CI": "true"})
    assert find({"CHROMIUM": "/somewhere/chromium"}) == Path("/somewhere/chromium")


class Embedding(FakeServable):
    """Answers a vector, as long as the input."""

    def _answers(self, index: int, given: bytes) -> Iterator[Answer]:
        yield Answer(index, {"embedding": [0.123456] * len(given)})


def test_of_a_vector_its_beginning_is_shown(browser: Browser) -> None:
    with serving(Embedding(wire=TEXT)) as here:
        page = browser.new_page()
        page.goto(here)
        for words, head, beginning in (
            ("ten or more", "Embedding of 11 numbers", ", ".join(["0.1235"] * 8) + ", …"),
            ("two", "Embedding of 3 numbers", ", ".join(["0.1235"] * 3)),
        ):
            page.get_by_label("One sentence").fill(words)
            page.get_by_role("button", name="Ask the model").click()
            said = page.locator(".result[data-state=answered]", has_text=words).first
            expect(said.locator(".headline")).to_have_text(head)
            expect(said.locator("p.small")).to_have_text(beginning)
        page.close()
