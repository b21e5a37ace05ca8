"""The page with several models, and what it tells of load and drift: in a real browser, on a real server."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator, Mapping

import pytest
from playwright.sync_api import Browser, Page, expect

from browser import chromium, outside_requests
from fake_servable import TEXT, FakeServable
from local_server import serving
from topwork.contracts import Answer, Json
from topwork.serving.app import Application, application
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.serving.traffic.canaries import Rules
from topwork.serving.traffic.shadows import Shadow
from topwork.serving.traffic.shares import Canary, Lane, Traffic
from topwork.serving.traffic.versions import Versions
from topwork.serving.wrapping.chains import Chain, Link
from watched_servable import StaffedServable, WatchedServable

pytestmark = pytest.mark.browser
browser = pytest.fixture(scope="module")(chromium)
LIMITS = Limits(drift_window=60)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


def ask(url: str, n: int, start: bytes = b"") -> None:
    for number in range(n):
        body = start + b"." * (200 + 100 * number // n)
        sent = urllib.request.Request(f"{url}/predict", body, {"content-type": "application/octet-stream"})
        with urllib.request.urlopen(sent, timeout=20):
            pass


def test_load_and_drift_are_shown_and_change_while_one_looks(page: Page) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    with serving(application(WatchedServable(delay_s=0.002), LIMITS)) as url:
        outside = outside_requests(page, url)
        page.goto(url)
        expect(page.locator("#drift")).to_have_text("Drift is told after 60 answers; 0 are there.")
        ask(url, 60)
        expect(page.locator("#drift")).to_contain_text("The last 60 answers: no drift.")
        expect(page.locator("#load")).to_contain_text("Answers60")
        expect(page.locator("#load")).to_contain_text(" ms")
        bars = page.get_by_role("list", name="answer: label")
        expect(bars.locator("li")).to_have_count(5)
        expect(bars.locator("li").first).to_contain_text("was 16.7 %")
        ask(url, 60, b"odd")
        expect(page.locator("#drift .doubt")).to_contain_text(
            "have drifted: input: distance, input: out of domain"
        )
        expect(page.locator("#load")).to_contain_text("Out of domain100.0 %")
    assert (outside, errors) == ([], [])


def test_a_model_is_chosen_and_asked_under_its_own_path(page: Page) -> None:
    models = [WatchedServable("first", TEXT), WatchedServable("the second", TEXT)]
    with serving(Application([Hosted(one, LIMITS) for one in models], LIMITS)) as url:
        page.goto(url)
        expect(page.get_by_label("Model", exact=True)).to_have_value("first")
        page.get_by_label("Model", exact=True).select_option("the second")
        expect(page).to_have_title("the second · topwork")
        expect(page.locator("#snippet")).to_contain_text(f"{url}/v1/models/the%20second/predict")
        page.get_by_role("tab", name="Python").click()
        expect(page.locator("#snippet")).to_contain_text("requests.post")
        page.get_by_label("One sentence").fill("Hello there")
        page.get_by_role("button", name="Ask the model").click()
        expect(page.locator(".result[data-state=answered]")).to_have_count(1)
    assert [one.seen for one in models] == [[], [b"Hello there"]]


def test_one_model_is_not_chosen(page: Page) -> None:
    with serving(application(WatchedServable(wire=TEXT), LIMITS)) as url:
        page.goto(url)
        expect(page.locator("#name")).to_have_text("chess")
        expect(page.locator("#pick")).not_to_be_visible()
        expect(page.locator("#snippet")).to_contain_text(f"{url}/predict")


class Doubtful(WatchedServable):
    """Answers a number, of which it says what speaks against it."""

    def _answers(self, index: int, given: bytes) -> Iterator[Answer]:
        number: dict[str, Json] = {"value": 3.25, "low": 2.0, "high": 4.5}
        label: dict[str, Json] = {
            "label": "ash",
            "probabilities": {"ash": 0.4, "oak": 0.35},
            "abstains": True,
        }
        told: dict[bytes, Mapping[str, Json]] = {
            b"like": {**number, "in_domain": True},
            b"unlike": {**number, "in_domain": False},
            b"unsure": {**label, "in_domain": True},
        }
        yield Answer(index, told[given])


def test_what_speaks_against_an_answer_stands_below_it(page: Page) -> None:
    with serving(application(Doubtful(wire=TEXT), LIMITS)) as url:
        page.goto(url)
        for words, head, doubts in (
            ("like", "3.25", []),
            ("unlike", "3.25", ["Unlike the training data."]),
            ("unsure", "ash", ["Not sure enough: asking a person costs less."]),
        ):
            page.get_by_label("One sentence").fill(words)
            page.get_by_role("button", name="Ask the model").click()
            said = page.locator(".result[data-state=answered]").filter(
                has=page.locator(".seen", has_text=re.compile(f"^{words}$"))
            )
            expect(said.locator(".headline")).to_have_text(head)
            expect(said.locator(".doubt")).to_have_text(doubts)


def test_versions_the_canary_and_worker_processes_are_shown_live(page: Page) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    staffed = StaffedServable("chess", states={"starting": 3})
    served = {"v1": WatchedServable(), "v2": staffed, "v3": WatchedServable(), "v4": WatchedServable()}
    members = {name: Hosted(one, LIMITS) for name, one in served.items()}
    points = iter([0.1] * 60 + [0.3] * 60)  # the canary's piece of the line comes first
    lanes = [Lane("v1", 3.0), Lane("v2", 1.0)]
    traffic = Traffic("chess", lanes, Canary("v3", 0.2, Rules()), random=lambda: next(points, 0.9))
    versions = Versions(members, traffic, {"v4": Shadow(members["v4"].servable, 0.05)})
    with serving(Application([versions], LIMITS)) as url:
        page.goto(url)
        rows = page.get_by_role("list", name="Versions").locator("> li")
        expect(rows).to_have_count(4)
        expect(rows.nth(0)).to_contain_text("v3 (canary)20.0 % of requests")
        expect(rows.nth(2)).to_contain_text("Replicas0 of 3 ready, 3 starting")
        expect(rows.nth(3)).to_contain_text("v4 (shadow)")
        ask(url, 60, b"odd")
        ask(url, 60)
        expect(rows.nth(0)).to_contain_text("Requests60")
        expect(rows.nth(0).locator(".doubt")).to_contain_text("have drifted: input: distance")
        expect(rows.nth(1)).to_contain_text("The last 60 answers: no drift.")
        expect(rows.nth(1).locator("dd").nth(2)).to_have_text(re.compile("[0-9.]+ ms"))
        expect(page.locator("#canary")).to_contain_text("The canary v3 is on trial.")
        rows.nth(0).get_by_text("What it answers").click()
        bars = rows.nth(0).get_by_role("list", name="answer: label")
        expect(bars).to_be_visible()
        staffed.states = {"ready": 2, "leaving": 1}
        versions.settle("rolled back")
        expect(page.locator("#canary")).to_contain_text("The canary v3 was rolled back on ")
        expect(page.locator("#canary")).to_contain_text("An operator said so.")
        expect(rows.nth(2)).to_contain_text("Replicas2 of 3 ready, 1 leaving")
        expect(bars).to_be_visible()  # what was unfolded stays so
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert errors == []


def test_worker_processes_stand_beside_the_latency(page: Page) -> None:
    with serving(application(StaffedServable(states={"ready": 1, "starting": 2}), LIMITS)) as url:
        page.goto(url)
        expect(page.locator("#load")).to_contain_text("Replicas1 of 3 ready, 2 starting")
        expect(page.locator("#versions")).not_to_be_visible()


def test_each_model_of_a_chain_is_shown_with_its_drift(page: Page) -> None:
    links = [Link(WatchedServable("first", TEXT)), Link(FakeServable("second", TEXT))]
    with serving(application(Chain("both", links), LIMITS)) as url:
        ask(url, 60, b"odd")
        page.goto(url)
        expect(page.locator("#drift")).to_contain_text(
            "firstThe last 60 answers have drifted: input: distance"
        )
        expect(page.locator("#drift")).to_contain_text("secondIt is not watched.")
        expect(page.locator("#load")).not_to_contain_text("Replicas")
