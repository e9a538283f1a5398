"""What goes wrong is said in words, with a way out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flask import Flask
from playwright.sync_api import BrowserContext, Page, Route, expect

from barevision.api import create_app
from barevision.detector import Detector
from barevision.models.catalogue import find_source
from barevision.pictures.decode import encode_image
from tests.browser.hands import as_rows, choose, drop, rows, try_sample
from tests.support.admission import all_turns_taken
from tests.support.serving import served

GOLDEN = find_source("roadsigns").golden
EXPECTED = [detection.to_json() for detection in GOLDEN.expected]


def expect_problem(page: Page, title: str, detail: str, again: bool) -> None:
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(title)
    expect(alert).to_contain_text(detail)
    expect(alert.get_by_role("button", name="Try again")).to_have_count(int(again))
    expect(page.get_by_role("region", name="What was found")).to_be_hidden()


@pytest.fixture
def small_app(roadsigns: Detector) -> Flask:
    """A service that takes little and doesn't wait."""
    limits = {"max_bytes": 200_000, "max_pixels": 400_000, "max_wait": 0.01}
    return create_app(replace(roadsigns, settings=roadsigns.settings.model_copy(update=limits)))


@pytest.fixture
def small(context: BrowserContext, small_app: Flask) -> Iterator[Page]:
    """The page of that service."""
    with served(small_app) as address:
        page = context.new_page()
        page.goto(address)
        yield page


def test_a_broken_picture(page: Page) -> None:
    try_sample(page)
    for data, detail in {
        b"no picture": "no picture in one of these formats",
        b"": "The picture is empty",
        GOLDEN.picture[:5000]: "",
        b'{"image": 1}': 'Expected {"image": ',
    }.items():
        drop(page, broken=data)
        expect_problem(page, "The service can't read this picture", detail, again=False)
    choose(page, "good.jpg", GOLDEN.picture)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_busy_service_is_asked_again(small: Page, small_app: Flask) -> None:
    asked = []
    small.on("request", lambda request: "/predict" in request.url and asked.append(request))
    with all_turns_taken(small_app):
        drop(small, picture=GOLDEN.picture)
        expect_problem(small, "The service is busy", "It may be asked again in 1 second.", again=True)
    assert small.locator("#picture").is_visible()
    small.get_by_role("button", name="Try again").click()
    small.get_by_role("region", name="What was found").wait_for()
    assert len(rows(small)) == len(EXPECTED)
    expect(small.get_by_role("alert")).to_have_count(0)
    first, second = (request.timing["startTime"] for request in asked)
    assert second - first > 900


def test_too_large_a_file_is_not_even_sent(small: Page) -> None:
    asked = []
    small.on("request", lambda request: "/predict" in request.url and asked.append(request.url))
    drop(small, large=bytes(300_000))
    expect_problem(small, "The picture is too large", "It has 293 kB; this service takes 196 kB.", again=False)
    assert asked == []


def test_too_many_pixels(small: Page) -> None:
    drop(small, wide=encode_image(np.zeros((1000, 1000, 3), np.uint8), ".png"))
    expect_problem(small, "The picture is too large", "1000x1000 = 1000000 pixels, allowed are 400000", again=False)


def test_the_network_is_gone(page: Page, context: BrowserContext) -> None:
    context.set_offline(True)
    drop(page, picture=GOLDEN.picture)
    expect_problem(page, "The service can't be reached", "Is the network there", again=True)
    context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("region", name="What was found").wait_for()
    assert len(rows(page)) == len(EXPECTED)


def test_the_sample_can_be_tried_again(page: Page, context: BrowserContext) -> None:
    context.set_offline(True)
    page.get_by_role("button", name="Try the sample").click()
    expect_problem(page, "The sample can't be had", "", again=True)
    context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("region", name="What was found").wait_for()


def test_something_else_answers(page: Page) -> None:
    given = {}
    page.route("**/predict*", lambda route: route.fulfill(**given))
    for answer, title, detail, again in (
        ({"status": 502, "body": "<h1>Bad"}, "The service failed", "It answers 502 Bad Gateway.", True),
        ({"status": 200, "body": "<h1>Hello"}, "The service answered something unexpected", "", False),
        ({"status": 200, "body": '{"a": 1}'}, "The service answered something unexpected", "", False),
        ({"status": 404, "body": "{}", "content_type": "application/problem+json"}, "The service failed", "404", False),
    ):
        given.clear()
        given.update(answer)
        drop(page, picture=GOLDEN.picture)
        expect_problem(page, title, detail, again)


def test_no_file_was_dropped(page: Page) -> None:
    drop(page)
    expect_problem(page, "That was no picture", "save the picture as a file first", again=False)


def test_of_several_files_the_first_is_taken_and_it_is_said(page: Page) -> None:
    drop(page, first=GOLDEN.picture, second=GOLDEN.picture)
    page.get_by_role("region", name="What was found").wait_for()
    expect(page.get_by_role("alert")).to_contain_text("This is the first of 2.")
    expect(page.locator("#caption")).to_contain_text("first · 640 \N{MULTIPLICATION SIGN} 480")


def test_a_picture_that_neither_can_draw_still_has_its_table(page: Page) -> None:
    """As wide a TIFF as JPEG can't hold: the service answers 406 for the picture, and the boxes."""

    def refuse_pictures(route: Route) -> None:
        if "image/jpeg" in route.request.headers["accept"]:
            route.fulfill(status=406, body='{"detail": "too wide"}', content_type="application/problem+json")
        else:
            route.continue_()

    page.route("**/predict*", refuse_pictures)
    page.evaluate("() => { window.createImageBitmap = () => Promise.reject(new Error('no')); }")
    choose(page, "wide.tiff", GOLDEN.picture)
    assert [row[0] for row in rows(page)] == [row[0] for row in as_rows(EXPECTED)]
    expect(page.locator("#picture")).to_be_hidden()
    page.get_by_role("button", name="Save picture").click()
    expect(page.get_by_role("alert")).to_contain_text("The picture is too large to be drawn on")
    expect(page.get_by_role("region", name="What was found")).to_be_visible()


@pytest.fixture
def locked(context: BrowserContext, roadsigns: Detector, tmp_path: Path) -> Iterator[Page]:
    """The page of a service that wants a key, which is "secret"."""
    path = tmp_path / "keys.json"
    path.write_text(
        json.dumps({"own": "own", "keys": [{"name": "ada", "sha256": hashlib.sha256(b"secret").hexdigest()}]})
    )
    settings = roadsigns.settings.model_copy(update={"keys_file": path})
    with served(create_app(replace(roadsigns, settings=settings))) as address:
        page = context.new_page()
        page.goto(address)
        yield page


def test_a_key_is_asked_for_where_one_is_needed_and_kept(locked: Page) -> None:
    locked.get_by_role("button", name="Try the sample").click()
    expect_problem(locked, "This service wants a key", "A key is needed", again=False)
    locked.get_by_label("Key", exact=True).fill("wrong")
    locked.get_by_role("button", name="Use this key").click()
    expect_problem(locked, "This service wants a key", "This key is not known", again=False)
    locked.get_by_label("Key", exact=True).fill("secret")
    locked.keyboard.press("Enter")
    locked.get_by_role("region", name="What was found").wait_for()
    expect(locked.get_by_label("Key", exact=True)).to_be_hidden()
    assert "-H 'X-API-Key: YOUR-KEY'" in locked.locator("#curl").text_content()
    locked.reload()
    try_sample(locked)
    assert len(rows(locked)) == len(EXPECTED)
