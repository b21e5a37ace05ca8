"""A real Chromium for the tests that look at pages.

Without a Chromium a test skips and says so; in continuous integration (``CI`` is set) it fails instead,
so that the pages cannot go untested without anybody seeing it. Use it as::

    with launch() as browser:
        page = browser.new_page()

or, as a fixture shared by a whole file, ``browser = pytest.fixture(scope="module")(chromium)``.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["WATCHED", "chromium", "find", "launch", "missing", "outside_requests"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
# No sandbox: containers have no user namespaces. No /dev/shm: theirs is too small for a picture.
ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--force-color-profile=srgb")
PATIENCE_MS = 20_000  # several looks of a page that looks again every few seconds, on a busy machine
WATCHED = ("http:", "https:", "ws:", "wss:")


def find(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the browser of this machine; ``CHROMIUM`` names one that is not on the path."""
    found = environment.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    return Path(found) if found else None


def missing(environment: Mapping[str, str] = os.environ) -> None:
    """Skip the running test, or fail it where a browser must be there."""
    reason = f"no Chromium here: looked for {', '.join(NAMES)} on the path; try `apt-get install chromium`"
    if environment.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def launch() -> Iterator[Browser]:
    """Open a headless Chromium for as long as the context lasts."""
    executable = find()
    if executable is None:
        missing()
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def chromium() -> Iterator[Browser]:
    """Yield one browser; wrap it with `pytest.fixture` and the scope that suits the file."""
    with launch() as browser:
        yield browser


def outside_requests(page: Page, own: str = "\0") -> list[str]:
    """Return a list that fills with every network request of ``page`` that does not go below ``own``."""
    seen: list[str] = []

    def note(url: str) -> None:
        if url.startswith(WATCHED) and not url.startswith(own):
            seen.append(url)

    page.on("request", lambda request: note(request.url))
    return seen
