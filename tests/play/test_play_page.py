"""The page of the game as a player meets it: in a real browser, on a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from playwright.sync_api import Browser, Page, expect

from browser import chromium, outside_requests
from fake_narrator import FakeNarrator
from local_server import serving
from playhouse import site

pytestmark = pytest.mark.browser
browser = pytest.fixture(scope="module")(chromium)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


def act(page: Page, words: str) -> None:
    page.locator("#text").fill(words)
    page.locator("#text").press("Enter")


def test_a_story_is_played_and_found_again_after_a_reload(page: Page, tmp_path: Path) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    go_on = Event()
    script = [
        " You find <b>a key</b>. It is very cold to the touch.",
        ' "Nobody," says a voice.',
        ' "Only me," says a mouse.',
        " The roof falls. You die.",
    ]
    narrator = FakeNarrator(script, go_on=go_on)
    with serving(site(tmp_path, narrator)) as url:
        outside = outside_requests(page, url)
        page.goto(url)
        page.get_by_role("button", name=re.compile("^Space")).click()
        expect(page.locator(".opening")).not_to_be_empty()
        expect(page).to_have_title("Space · topwork play")
        expect(page.get_by_role("button", name="Revert")).to_be_disabled()
        results, actions = page.locator(".result"), page.locator(".action")

        act(page, "I search my pockets")
        expect(actions).to_have_text(["You search your pockets."])
        expect(page.locator(".told")).to_have_text("You find <b>a key</b>.")  # as text, while it is written
        expect(page.locator(".draft")).to_have_text(" It is")
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        go_on.set()
        expect(results).to_have_text(["You find <b>a key</b>. It is very cold to the touch."])
        expect(page.locator("#spoken")).to_contain_text("It is very cold")

        page.get_by_text("Say", exact=True).click()
        act(page, "who is there")
        expect(actions.nth(1)).to_have_text('You say "Who is there?"')
        expect(results.nth(1)).to_have_text('"Nobody," says a voice.')

        page.get_by_role("button", name="Retry").click()
        expect(results.nth(1)).to_have_text('"Only me," says a mouse.')
        expect(results).to_have_count(2)

        page.get_by_role("button", name="Continue").click()
        expect(page.locator("#ended")).to_contain_text("You have died.")
        page.get_by_role("button", name="Revert").click()
        expect(results).to_have_count(2)
        expect(page.locator("#ended")).not_to_be_visible()

        act(page, "/remember The key is brass.")
        expect(page.locator("#notices")).to_have_text("Remembered as number 1.")
        page.get_by_role("button", name="Context").click()
        expect(page.locator("#shown pre")).to_contain_text("1. The key is brass.")
        act(page, "/rety")
        expect(page.locator("#notices")).to_contain_text("Did you mean /retry?")

        told = page.locator("#story").inner_text()
        page.reload()
        expect(results).to_have_count(2)
        assert page.locator("#story").inner_text() == told
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert (outside, errors) == ([], [])


def test_stop_keeps_what_was_told(page: Page, tmp_path: Path) -> None:
    text = " One is here. And then" + "".join(f" word{i}" for i in range(500))
    narrator = FakeNarrator([text], pace_s=0.03)
    with serving(site(tmp_path, narrator)) as url:
        page.goto(url)
        page.locator("#prompt").fill("I wake up in a boat")
        page.get_by_role("button", name="Begin").click()
        expect(page.locator(".opening")).to_have_text("You wake up in a boat.")
        act(page, "/set length 600")
        expect(page.locator("#notices")).to_have_text("length is 600.")
        act(page, "wait")
        expect(page.locator(".told")).to_have_text("One is here.")
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_role("button", name="Go", exact=True)).to_be_visible()
        expect(page.locator(".result")).to_have_text(["One is here."])
    assert narrator.n_closed == 1
    assert narrator.n_given < 500


def test_a_story_that_was_asked_for_is_there_at_once_and_a_new_one_can_be(page: Page, tmp_path: Path) -> None:
    with serving(site(tmp_path, FakeNarrator(), asks=False)) as url:
        page.goto(url)
        expect(page.locator(".opening")).not_to_be_empty()
        expect(page).to_have_title("Fantasy · topwork play")
        page.get_by_role("button", name="New story").click()
        page.get_by_role("button", name=re.compile("^Sea")).click()
        expect(page).to_have_title("Sea · topwork play")
