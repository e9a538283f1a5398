"""From a picture to its boxes, and away with them: what the page shows is what the service answers."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests
from PIL import Image
from playwright.sync_api import BrowserContext, Page, Route, expect

from barevision.models.catalogue import find_source
from barevision.pictures.decode import decode_image
from tests.browser.hands import as_rows, choose, drop, pixels, rows, strengths, try_sample

GOLDEN = find_source("roadsigns").golden
EXPECTED = [detection.to_json() for detection in GOLDEN.expected]


def predict(url: str, picture: bytes, confidence: float = 0.5) -> list[dict]:
    return requests.post(f"{url}/predict", params={"confidence": confidence}, data=picture, timeout=30).json()


def slide(page: Page, confidence: float) -> None:
    page.get_by_label("Confidence above").fill(str(confidence))


@pytest.fixture
def coco_page(context: BrowserContext, coco_url: str) -> Page:
    page = context.new_page()
    page.goto(coco_url)
    return page


@pytest.fixture
def photo(assets: Path) -> bytes:
    """A photo full of people."""
    return (assets / "coco64" / "images" / "000000004134.jpg").read_bytes()


def encoded(picture: np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def scene() -> np.ndarray:
    """The golden image: uint8 (480, 640, 3) RGB."""
    return decode_image(GOLDEN.picture, 10**6)[..., ::-1]


def test_the_sample(page: Page, url: str) -> None:
    try_sample(page)
    objects = predict(url, GOLDEN.picture)
    assert rows(page) == as_rows(objects)
    assert len(objects) == len(EXPECTED)
    assert min(strengths(page, objects, (480, 640))) > 200
    assert page.locator("#summary").inner_text() == f"{len(objects)} objects"


def test_a_dropped_photo(coco_page: Page, coco_url: str, photo: bytes) -> None:
    drop(coco_page, photo=photo)
    coco_page.get_by_role("region", name="What was found").wait_for()
    objects = predict(coco_url, photo)
    assert rows(coco_page) == as_rows(objects)
    image = decode_image(photo, 10**7)
    # Boxes lie on top of each other there: most of them must be seen well.
    assert np.median(strengths(coco_page, objects, image.shape[:2])) > 200
    shown = cv2.resize(pixels(coco_page, "picture")[..., 2::-1], image.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(shown.astype(int) - image).mean() < 6


def test_the_slider_leaves_what_the_service_answers_there(coco_page: Page, coco_url: str, photo: bytes) -> None:
    asked = []
    coco_page.on("request", lambda request: "/predict" in request.url and asked.append(request.url))
    choose(coco_page, "photo.jpg", photo)
    lengths = []
    for confidence in (0.05, 0.1, 0.25, 0.4, 0.5, 0.65, 0.9, 0.99):
        slide(coco_page, confidence)
        objects = predict(coco_url, photo, confidence)
        assert rows(coco_page) == as_rows(objects)
        lengths.append(len(objects))
    assert len(set(lengths)) > 4
    assert lengths == sorted(lengths, reverse=True)
    assert len(asked) == 1


def test_boxes_go_with_the_slider(page: Page) -> None:
    try_sample(page)
    assert pixels(page, "boxes").any()
    slide(page, 0.99)
    left = rows(page)
    assert 0 < len(left) < len(EXPECTED)
    slow = [item for item in EXPECTED if item["label"] not in {row[0] for row in left}]
    assert max(strengths(page, slow, (480, 640))) == 0


def test_the_table_and_the_picture_point_at_each_other(page: Page, url: str) -> None:
    objects = predict(url, GOLDEN.picture)
    try_sample(page)
    lines = page.locator("#rows tr")

    lines.nth(2).hover()
    assert [value > 200 for value in strengths(page, objects, (480, 640))] == [at == 2 for at in range(len(objects))]
    page.mouse.move(0, 0)
    assert min(strengths(page, objects, (480, 640))) > 200

    lines.nth(1).get_by_role("button").focus()
    assert [value > 200 for value in strengths(page, objects, (480, 640))] == [at == 1 for at in range(len(objects))]
    page.get_by_role("button", name="Choose a picture").focus()

    x, y, width, height = objects[3]["boxes"]
    place = page.locator("#boxes").bounding_box()
    zoom = place["width"] / 640
    page.mouse.move(place["x"] + (x + width / 2) * zoom, place["y"] + (y + height / 2) * zoom)
    assert page.locator("#rows tr.active").all_inner_texts() == lines.nth(3).all_inner_texts()
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(0, 0)
    expect(page.get_by_role("button", name=objects[3]["label"], pressed=True)).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("#rows tr.active")).to_have_count(0)


def test_the_picture_is_saved_as_the_service_draws_it(page: Page, url: str, scene: np.ndarray, tmp_path: Path) -> None:
    choose(page, "my signs.png", encoded(scene, "PNG"))
    with page.expect_download() as download:
        page.get_by_role("button", name="Save picture").click()
    assert download.value.suggested_filename == "my signs-objects.jpg"
    download.value.save_as(tmp_path / "saved.jpg")
    saved = decode_image((tmp_path / "saved.jpg").read_bytes(), 10**6)[..., ::-1].astype(int)
    headers = {"Accept": "image/png"}
    answer = requests.post(f"{url}/predict", data=encoded(scene, "PNG"), headers=headers, timeout=30).content
    drawn = decode_image(answer, 10**6)[..., ::-1].astype(int)
    assert saved.shape == drawn.shape
    for item in predict(url, GOLDEN.picture):
        x, y, width, height = item["boxes"]
        middle = slice(y + height // 3, y + height * 2 // 3)
        # JPEG's colours bleed over two pixels; a wrong order of the three is off by 50 and more.
        line = np.median(saved[middle, x - 1 : x + 1], axis=0)
        assert np.abs(line - np.median(drawn[middle, x], axis=0)).mean(axis=1).min() < 40, item["label"]
        assert np.abs(line - np.median(scene[middle, x], axis=0)).mean(axis=1).max() > 5, item["label"]
    far = np.ones(scene.shape[:2], bool)
    for item in predict(url, GOLDEN.picture, 0.05):
        x, y, width, height = item["boxes"]
        far[max(0, y - 30) : y + height + 30, max(0, x - 10) : x + width + 60] = False
    assert np.abs(saved - scene)[far].mean() < 6


def test_the_json_is_saved_as_the_service_answers_it(page: Page, url: str, tmp_path: Path) -> None:
    try_sample(page)
    slide(page, 0.99)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save JSON").click()
    download.value.save_as(tmp_path / "saved")
    assert download.value.suggested_filename == "sample.json"
    assert json.loads((tmp_path / "saved").read_text()) == predict(url, GOLDEN.picture, 0.99)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed here")
@pytest.mark.parametrize("name", ["signs.jpg", "it's $(touch owned) `x`.jpg"])
def test_the_command_asks_the_same(page: Page, url: str, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(GOLDEN.picture)
    choose(page, name, GOLDEN.picture)
    slide(page, 0.99)
    command = page.locator("#curl").inner_text()
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30)
    assert json.loads(done.stdout) == predict(url, GOLDEN.picture, 0.99)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_brings_no_orders_for_the_terminal(page: Page) -> None:
    choose(page, "a\x1b[2Jb\x07\u202ec.jpg", GOLDEN.picture)
    assert page.locator("#curl").inner_text().startswith("curl --data-binary '@a?[2Jb??c.jpg' 'http://127.0.0.1:")


def test_the_command_is_copied(page: Page, context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    try_sample(page)
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("status")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#curl").inner_text()


def test_a_pasted_picture(page: Page, context: BrowserContext, url: str, scene: np.ndarray) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(
        """async () => {
          const picture = await createImageBitmap(await (await fetch("sample.jpg")).blob());
          const canvas = new OffscreenCanvas(picture.width, picture.height);
          canvas.getContext("2d").drawImage(picture, 0, 0);
          const blob = await canvas.convertToBlob();
          await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
        }"""
    )
    page.keyboard.press("Control+V")
    page.get_by_role("region", name="What was found").wait_for()
    assert rows(page) == as_rows(predict(url, encoded(scene, "PNG")))


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_turned_jpeg(page: Page, url: str, scene: np.ndarray, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(np.rot90(scene, {3: 2, 6: 1}[orientation]))
    data = encoded(stored, "JPEG", quality=95, exif=exif)
    choose(page, "turned.jpg", data)
    objects = predict(url, data)
    assert rows(page) == as_rows(objects)
    assert {item["label"] for item in objects} == {item["label"] for item in EXPECTED}
    assert min(strengths(page, objects, (480, 640))) > 200
    shown = cv2.resize(pixels(page, "picture")[..., :3], (640, 480), interpolation=cv2.INTER_AREA)
    assert np.abs(shown.astype(int) - scene).mean() < 8


@pytest.mark.parametrize("kind", ["TIFF", "GIF"])
def test_what_the_service_sees_is_shown(page: Page, url: str, scene: np.ndarray, kind: str) -> None:
    """Browsers show no TIFF, and would play an animation of which the service sees the first frame."""
    options = (
        {"save_all": True, "append_images": [Image.new("RGB", (640, 480))], "duration": 20} if kind == "GIF" else {}
    )
    data = encoded(scene, kind, **options)
    choose(page, f"scene.{kind.lower()}", data)
    page.wait_for_timeout(100)
    objects = predict(url, data)
    assert len(objects) >= len(EXPECTED) - 1
    assert rows(page) == as_rows(objects)
    assert min(strengths(page, objects, (480, 640))) > 200
    shown = cv2.resize(pixels(page, "picture")[..., :3], (640, 480), interpolation=cv2.INTER_AREA)
    assert np.abs(shown.astype(int) - scene).mean() < 12
    with page.expect_download() as download:
        page.get_by_role("button", name="Save picture").click()
    assert decode_image(Path(download.value.path()).read_bytes(), 10**6).shape == (480, 640, 3)


def test_a_second_picture_takes_the_first_ones_place(page: Page, url: str, scene: np.ndarray) -> None:
    held: list[Route] = []
    failed = []
    page.on("requestfailed", lambda request: failed.append(request.failure))
    page.route("**/predict*", lambda route: route.continue_() if held else held.append(route))
    drop(page, first=encoded(scene[:, ::-1], "PNG"))
    page.get_by_role("button", name="Cancel").wait_for()
    choose(page, "second.jpg", GOLDEN.picture)
    assert failed == ["net::ERR_ABORTED"]
    assert rows(page) == as_rows(predict(url, GOLDEN.picture))
    assert page.locator("#caption").inner_text().startswith("second.jpg · 640 \N{MULTIPLICATION SIGN} 480 · ")


def test_a_picture_can_be_given_up(page: Page) -> None:
    page.route("**/predict*", lambda route: None)
    drop(page, slow=GOLDEN.picture)
    with page.expect_event("requestfailed"):
        page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#busy")).to_be_hidden()
    expect(page.get_by_role("button", name="Choose a picture")).to_be_focused()


def test_a_photo_from_the_camera(page: Page, url: str) -> None:
    page.get_by_role("button", name="Take a photo").click()
    page.evaluate(
        """async () => {
          const video = document.getElementById("video");
          while (!video.videoWidth) await new Promise((resolve) => setTimeout(resolve, 20));
          window.track = video.srcObject.getTracks()[0];
        }"""
    )
    page.get_by_role("button", name="Take it").click()
    page.get_by_role("region", name="What was found").wait_for()
    assert page.locator("#caption").inner_text().startswith("photo.jpg · ")
    assert page.evaluate("window.track.readyState") == "ended"
    expect(page.get_by_role("dialog")).to_be_hidden()
