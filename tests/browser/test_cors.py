"""A page of another site asks the service with fetch(), in a browser that enforces what the service allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask
from playwright.sync_api import BrowserContext, Page

from barevision.api import create_app
from barevision.detector import Detector
from tests.support.serving import served

_ASK = """
async ({ url, type, body }) => {
  try {
    const headers = type ? { "Content-Type": type, "X-Request-ID": "door-17" } : {};
    const picture = await (await fetch("/sign.jpg")).blob();
    const response = await fetch(url, { method: "POST", headers, body: body ?? picture });
    const told = Object.fromEntries(["X-Request-ID", "Server-Timing", "Retry-After"].map(
      (name) => [name, response.headers.get(name)]));
    return { status: response.status, answer: await response.json(), told };
  } catch (error) {
    return { error: error.name };
  }
}
"""


@pytest.fixture
def page(context: BrowserContext, roadsigns: Detector) -> Iterator[Page]:
    """A page of a site that is not the service's."""
    site = Flask("other site")
    site.add_url_rule("/", view_func=lambda: "<!doctype html><title>Another site</title><link rel=icon href=data:,>")
    site.add_url_rule("/sign.jpg", "sign", view_func=lambda: roadsigns.model.golden.picture)
    with served(site) as address:
        page = context.new_page()
        page.goto(address)
        yield page


def ask(page: Page, roadsigns: Detector, origin: str | None, path: str = "/predict", **options: object) -> dict:
    origins = () if origin is None else (origin,)
    settings = roadsigns.settings.model_copy(update={"cors_origins": origins})
    with served(create_app(replace(roadsigns, settings=settings))) as address:
        return page.evaluate(_ASK, {"url": f"{address}{path}", **options})


def origin_of(page: Page) -> str:
    return page.evaluate("location.origin")


@pytest.mark.parametrize("type_", ["image/jpeg", None], ids=["with a preflight", "without"])
def test_an_allowed_page_reads_the_answer_and_its_headers(page: Page, roadsigns: Detector, type_: str | None) -> None:
    for origin in (origin_of(page), "*"):
        found = ask(page, roadsigns, origin, type=type_)
        assert found["status"] == 200, found
        assert len(found["answer"]) == 6
        assert found["told"]["Server-Timing"].startswith("wait;dur=")
        assert found["told"]["X-Request-ID"] == "door-17" if type_ else found["told"]["X-Request-ID"]


def test_an_allowed_page_reads_why_it_was_refused(page: Page, roadsigns: Detector) -> None:
    broken = ask(page, roadsigns, origin_of(page), body="no picture")
    assert (broken["status"], "no picture in one of" in broken["answer"]["detail"]) == (400, True)
    wrong = ask(page, roadsigns, origin_of(page), "/predict?confidance=1", type="image/jpeg", body="x")
    assert (wrong["status"], "confidance" in wrong["answer"]["detail"]) == (422, True)
    missing = ask(page, roadsigns, origin_of(page), "/nothing", body="x")
    assert missing["status"] == 404


@pytest.mark.parametrize("type_", ["image/jpeg", None], ids=["with a preflight", "without"])
@pytest.mark.parametrize("origin", [None, "https://app.example.com"])
def test_a_page_that_is_not_allowed_reads_nothing(
    page: Page, roadsigns: Detector, origin: str | None, type_: str | None
) -> None:
    assert ask(page, roadsigns, origin, type=type_) == {"error": "TypeError"}
