"""The page for everybody: by keyboard, by ear, on a phone, in the dark, without motion."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from barevision.models.catalogue import find_source
from tests.browser.conftest import watched
from tests.browser.hands import answer_chooser, drop, rows, try_sample

_FOCUSED = """() => {
  const { innerText, id, tagName } = document.activeElement;
  return [tagName === "BODY" ? "" : innerText || id, getComputedStyle(document.activeElement).outlineStyle];
}"""
GOLDEN = find_source("roadsigns").golden
EXPECTED = [detection.to_json() for detection in GOLDEN.expected]


def assert_accessible(page: Page) -> None:
    found = Axe().run(
        page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    )
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1440)])
def test_axe_finds_nothing(browser: Browser, url: str, scheme: str, width: int) -> None:
    with watched(
        browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
    ) as context:
        page = context.new_page()
        page.goto(url)
        assert_accessible(page)
        page.locator("#model summary").click()
        try_sample(page)
        page.locator("#rows button").first.click()
        assert_accessible(page)
        drop(page, broken=b"no picture")
        page.locator("#problem.told").wait_for()
        assert_accessible(page)


def test_by_keyboard_alone(page: Page) -> None:
    def tab_to(name: str) -> None:
        for _ in range(20):
            page.keyboard.press("Tab")
            found, outline = page.evaluate(_FOCUSED)
            if name in found:
                assert outline == "solid", f"the focus on {name} is not seen"
                return
        pytest.fail(f"the Tab key doesn't come to {name}")

    answer_chooser(page, GOLDEN.picture)
    tab_to("Choose a picture")
    page.keyboard.press("Enter")
    page.get_by_role("region", name="What was found").wait_for()
    tab_to("confidence")
    page.keyboard.press("End")
    page.keyboard.press("Home")
    every = rows(page)
    assert len(every) >= len(EXPECTED)
    # One stop for the whole table, and the arrow keys in it.
    tab_to(every[0][0])
    page.keyboard.press("ArrowDown")
    expect(page.locator("#rows tr").nth(1)).to_have_class("active")
    page.keyboard.press("End")
    expect(page.locator("#rows tr").last).to_have_class("active")
    page.keyboard.press("Space")
    expect(page.locator("#rows button").last).to_have_attribute("aria-pressed", "true")
    tab_to("Save picture")
    tab_to("Save JSON")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "signs.json"
    tab_to("Copy")


def test_what_a_screen_reader_is_told(page: Page) -> None:
    try_sample(page)
    status = page.get_by_role("status")
    expect(status).to_contain_text(f"{len(EXPECTED)} objects above 0.50: ")
    slider = page.get_by_role("slider", name="Confidence above")
    slider.focus()
    page.keyboard.press("End")
    expect(status).to_contain_text("above 0.99")
    expect(page.get_by_role("img", name="sample.jpg")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text("Barevision")
    expect(page.get_by_role("columnheader")).to_have_text(["Label", "Confidence", "Box"])
    expect(page.get_by_role("rowheader")).to_have_count(len(rows(page)))
    drop(page, broken=b"no picture")
    expect(page.get_by_role("alert")).to_contain_text("can't read this picture")


def test_nothing_sticks_out(page: Page) -> None:
    def assert_fits() -> None:
        for width in (320, 360, 768, 1440):
            page.set_viewport_size({"width": width, "height": 740})
            # The page lays itself out anew a moment after its window changed.
            page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)

    assert_fits()
    page.locator("#model summary").click()
    try_sample(page)
    assert_fits()
    drop(page, **{"a-name-without-end" * 10: GOLDEN.picture[:-5000]})
    page.locator("#problem.told").wait_for()
    assert_fits()


def test_a_phone_has_its_own_camera_app(browser: Browser, url: str) -> None:
    with watched(
        browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    ) as context:
        page = context.new_page()
        page.goto(url)
        cameras = answer_chooser(page, GOLDEN.picture)
        page.get_by_role("button", name="Take a photo").tap()
        page.get_by_role("region", name="What was found").wait_for()
        assert cameras == ["environment"]
        assert len(rows(page)) == len(EXPECTED)
        page.locator("#rows tr").nth(1).tap()
        expect(page.locator("#rows button").nth(1)).to_have_attribute("aria-pressed", "true")


def test_plain_http_has_no_camera_and_the_page_says_so(context: BrowserContext, url: str) -> None:
    page = context.new_page()
    # What browsers do on plain http, except for this computer's own pages.
    page.add_init_script("delete Navigator.prototype.mediaDevices; delete Navigator.prototype.clipboard")
    page.goto(url)
    expect(page.get_by_text("browsers lend no camera")).to_be_visible()
    expect(page.get_by_role("button", name="Take a photo")).to_be_hidden()
    try_sample(page)
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("status")).to_have_text("Copied")


def test_nothing_moves_for_those_who_want_it_so(browser: Browser, url: str) -> None:
    for motion, moving in (("reduce", False), ("no-preference", True)):
        with watched(browser.new_context(reduced_motion=motion)) as context:
            page = context.new_page()
            page.goto(url)
            page.route("**/predict*", lambda route: None)
            drop(page, slow=GOLDEN.picture)
            page.get_by_role("button", name="Cancel").wait_for()
            assert bool(page.evaluate("document.getAnimations().length")) is moving
