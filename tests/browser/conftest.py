"""A real browser on the page of a real service. The tests skip where there is no Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from barevision.api import create_app
from barevision.detector import Detector, load_detector
from barevision.settings import load_settings
from tests.support.serving import served

# Chromium's own sandbox needs to be another user than root; the rest keeps it from asking its maker anything.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
# Error statuses and refused origins are what some tests are about; the other is about the tests' own looking at pixels.
_EXPECTED = ("Failed to load resource", "blocked by CORS policy", "willReadFrequently")
_LISTENER = """
window.violations = [];
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
  window.violations.push(`${violatedDirective}: ${blockedURI}`));
"""


@pytest.fixture(scope="package")
def coco(coco_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return load_detector(load_settings(model=str(coco_model), models_dir=tmp_path_factory.mktemp("prepared")))


@pytest.fixture(scope="package")
def coco_url(coco: Detector) -> Iterator[str]:
    with served(create_app(coco)) as address:
        yield address


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if not path:
        pytest.skip("chromium is not installed here")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser as a person has it, on a screen of a laptop."""
    with watched(browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)) as context:
        yield context


@contextmanager
def watched(context: BrowserContext) -> Iterator[BrowserContext]:
    """`context`, closed at the end; nothing may have been blocked, failed in a script, or gone to another host."""
    wrong, hosts = [], set()
    context.set_default_timeout(10_000)
    context.add_init_script(_LISTENER)
    context.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    context.on("console", lambda line: line.type in ("error", "warning") and wrong.append(line.text))
    yield context
    for page in context.pages:
        wrong += page.evaluate("window.violations")
    context.close()
    assert [line for line in wrong if not any(words in line for words in _EXPECTED)] == []
    assert hosts <= {"127.0.0.1", None}


@pytest.fixture
def page(context: BrowserContext, url: str) -> Page:
    """The page of the embedded model."""
    page = context.new_page()
    page.goto(url)
    return page
