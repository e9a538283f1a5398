"""POST /predict by the tutorial's contract, and what it can beyond that."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import MultiDict

from barevision.api import create_app
from barevision.api.admission import Admission
from barevision.api.record import Record
from barevision.detector import Detector
from barevision.objects import Detection, differences
from barevision.pictures.annotate import annotate
from barevision.pictures.decode import encode_image
from tests.support.answers import detections
from tests.support.engines import FakeEngine
from tests.support.problems import assert_problem
from tests.support.waiting import wait_until


def test_a_client_of_the_tutorial_works_unchanged(url: str, picture: bytes, expected: list[Detection]) -> None:
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    _, encoded = cv2.imencode(".png", image)
    response = requests.post(
        f"{url}/predict", data=encoded.tobytes(), headers={"content-type": "image/jpg"}, timeout=30
    )
    answer = json.loads(response.text)
    assert differences(expected, detections(answer)) == []
    for item in answer:
        x, y, w, h = item["boxes"]
        color = [int(c) for c in item["color"]]
        cv2.rectangle(image, (x, y), (x + w, y + h), color, 2)
        cv2.putText(image, f"{item['label']}: {item['confidence']:.4f}", (x, y - 5), 0, 0.5, color, 2)


@pytest.mark.parametrize("content_type", ["image/jpg", "image/jpeg", "application/octet-stream", "text/plain", None])
def test_any_raw_body(client: FlaskClient, picture: bytes, expected: list[Detection], content_type: str | None) -> None:
    response = client.post("/predict", data=picture, content_type=content_type)
    assert response.status_code == 200
    assert response.content_type == "application/json"
    assert differences(expected, detections(response.json)) == []
    confidences = [item["confidence"] for item in response.json]
    assert confidences == sorted(confidences, reverse=True)


def test_thresholds_are_parameters(client: FlaskClient, picture: bytes, expected: list[Detection]) -> None:
    many = client.post("/predict?confidence=0.01&nms=0.9", data=picture).json
    assert len(many) > len(expected)
    best = expected[0].confidence
    none = client.post(f"/predict?confidence={min(1, best + 0.02)}", data=picture).json
    assert none == []


def test_only_some_classes_and_at_most_so_many(client: FlaskClient, picture: bytes, expected: list[Detection]) -> None:
    some = client.post("/predict", query_string={"classes": "stop, no entry"}, data=picture).json
    assert differences([item for item in expected if item.label in ("stop", "no entry")], detections(some)) == []
    assert differences(expected[:2], detections(client.post("/predict?limit=2", data=picture).json)) == []


def test_boxes_of_other_classes_stay_if_asked_so(
    app: Flask, engine: FakeEngine, roadsigns: Detector, picture: bytes
) -> None:
    """Two classes at one place, as somebody on a motorcycle."""
    rows = np.zeros((2, 4 + len(roadsigns.model.labels)), np.float32)
    rows[:, :4], rows[0, 4], rows[1, 5] = 0.5, 0.9, 0.8
    engine.infer = lambda blob: rows
    client = app.test_client()
    assert [item["label"] for item in client.post("/predict", data=picture).json] == ["stop"]
    both = client.post("/predict?per_class_nms=true", data=picture).json
    assert [item["label"] for item in both] == ["stop", "give way"]


def test_several_files_have_an_answer_each(client: FlaskClient, picture: bytes, expected: list[Detection]) -> None:
    """In their order, whatever they are called; what can't be read loses its own answer only."""
    empty = encode_image(np.full((60, 80, 3), 127, np.uint8), ".png")
    files = [("a", picture, "x.jpg"), ("a", empty, "x.jpg"), ("b", b"no picture", "bad.jpg"), ("c", picture, "x.jpg")]
    parts = MultiDict((field, (io.BytesIO(data), name)) for field, data, name in files)
    response = client.post("/predict", data=parts)
    assert response.status_code == 200
    assert [item["file"] for item in response.json] == ["x.jpg", "x.jpg", "bad.jpg", "x.jpg"]
    first, second, bad, last = response.json
    assert set(first) == set(last) == {"file", "objects"}
    for answer in (first, last):
        assert differences(expected, detections(answer["objects"])) == []
    assert second["objects"] == []
    assert set(bad) == {"file", "problem"}
    assert (bad["problem"]["status"], bad["problem"]["type"]) == (400, "about:blank")
    assert "no picture" in bad["problem"]["detail"]


def form(count: int, image: np.ndarray) -> dict:
    data = encode_image(image, ".png")
    return {f"picture{number}": (io.BytesIO(data), f"{number}.png") for number in range(count)}


def test_others_have_their_turn_between_two_pictures_of_a_request(
    app: Flask, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer, seen, admission = engine.infer, [], Admission(1, 10**6, max_wait=60)
    service = replace(app.extensions["barevision"], admission=admission)
    monkeypatch.setitem(app.extensions, "barevision", service)

    def watching(blob: np.ndarray) -> np.ndarray:
        if not seen:
            thread.start()
            wait_until(lambda: admission.waiting, "the other request waits for its turn")
        seen.append("light" if blob.mean() > 0.5 else "dark")
        return infer(blob)

    engine.infer = watching
    light = encode_image(np.full((40, 60, 3), 250, np.uint8), ".png")
    thread = threading.Thread(target=lambda: app.test_client().post("/predict", data=light))
    answer = app.test_client().post("/predict", data=form(3, np.zeros((40, 60, 3), np.uint8))).json
    thread.join()
    assert [item["objects"] for item in answer] == [[], [], []]
    assert seen == ["dark", "light", "dark", "dark"]


@pytest.mark.parametrize(
    ("side", "answered"), [((100, 120), 20), ((200, 250), 5)], ids=["twenty ordinary ones", "the largest ones"]
)
def test_the_pictures_of_a_request_have_one_budget_of_pixels(
    roadsigns: Detector, side: tuple[int, int], answered: int
) -> None:
    settings = roadsigns.settings.model_copy(update={"max_pixels": 50_000})
    client = create_app(replace(roadsigns, settings=settings)).test_client()
    answer = client.post("/predict", data=form(20, np.zeros((*side, 3), np.uint8))).json
    assert ["objects" in item for item in answer] == [True] * answered + [False] * (20 - answered)
    for item in answer[answered:]:
        assert item["problem"]["status"] == 413
        assert "250000 pixels, and no more are begun after 250000; send it in another" in item["problem"]["detail"]


def test_a_request_that_takes_too_long_begins_no_more_pictures(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Record, "milliseconds", lambda _: 41_000)
    first, *others = client.post("/predict", data=form(3, np.zeros((40, 60, 3), np.uint8))).json
    assert first["objects"] == []
    assert [item["problem"]["status"] for item in others] == [503, 503]


def test_a_service_that_fails_has_no_answers_of_several(app: Flask, engine: FakeEngine, picture: bytes) -> None:
    engine.infer = lambda blob: 1 / 0
    parts = {"a": (io.BytesIO(picture), "a.jpg"), "b": (io.BytesIO(picture), "b.jpg")}
    assert_problem(app.test_client().post("/predict", data=parts), 500)


def test_several_files_are_no_annotated_picture(client: FlaskClient, picture: bytes) -> None:
    parts = {"a": (io.BytesIO(picture), "a.jpg"), "b": (io.BytesIO(picture), "b.jpg")}
    response = client.post("/predict?annotate=1", data=parts)
    assert "2 pictures can't be answered as image/jpeg" in assert_problem(response, 406)["detail"]


@pytest.mark.parametrize(
    ("annotate", "accept", "kind"),
    [
        ("1", "*/*", "image/jpeg"),
        ("true", "application/json", "image/jpeg"),
        ("1", "image/png", "image/png"),
        ("1", "text/html,image/png,*/*;q=0.1", "image/png"),
        ("0", "*/*", "application/json"),
        ("0", "image/png", "image/png"),
    ],
)
def test_the_annotated_picture_by_a_parameter(
    client: FlaskClient, picture: bytes, annotate: str, accept: str, kind: str
) -> None:
    response = client.post(f"/predict?annotate={annotate}", data=picture, headers={"Accept": accept})
    assert (response.status_code, response.content_type) == (200, kind)


@pytest.mark.parametrize(
    ("kind", "extension", "magic"), [("image/jpeg", ".jpg", b"\xff\xd8"), ("image/png", ".png", b"\x89PNG")]
)
def test_the_annotated_picture(
    client: FlaskClient, roadsigns: Detector, picture: bytes, kind: str, extension: str, magic: bytes
) -> None:
    response = client.post("/predict", data=picture, headers={"Accept": kind})
    assert response.content_type == kind
    assert response.data.startswith(magic)
    answer = roadsigns.answer(picture, full_size=True)
    assert len(answer.detections) == 6
    assert response.data == encode_image(annotate(answer.image, answer.detections), extension)


@pytest.mark.parametrize(("kind", "width"), [("image/jpeg", 65_501), ("image/png", 1_000_001)])
def test_a_picture_that_cannot_be_answered_is_refused_before_it_is_predicted(
    roadsigns: Detector, engine: FakeEngine, kind: str, width: int
) -> None:
    settings = roadsigns.settings.model_copy(update={"max_side": 2_000_000})
    client = create_app(replace(roadsigns, settings=settings, engine=engine)).test_client()
    engine.infer = lambda blob: pytest.fail("predicted")
    wide = np.zeros((1, width, 3), np.uint8)
    response = client.post("/predict", data=cv2.imencode(".tiff", wide)[1].tobytes(), headers={"Accept": kind})
    detail = assert_problem(response, 406)["detail"]
    assert f"{width}x1 pixels, allowed are {width - 1} a side in {kind}" in detail
