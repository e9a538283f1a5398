"""The dialect of DeepStack and CodeProject.AI: asked by a real client, and by the rules of others."""

from __future__ import annotations

import base64
import io
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
import requests
from deepstack.core import DeepstackException, DeepstackObject, get_objects_summary
from flask import Flask
from flask.testing import FlaskClient

from barevision.api.dialects import deepstack
from barevision.detector import Detector
from barevision.objects import Detection, differences
from tests.support.admission import refused
from tests.support.engines import FakeEngine


def deepstack_client(url: str, **options: object) -> DeepstackObject:
    parts = urlsplit(url)
    return DeepstackObject(ip=parts.hostname, port=parts.port, timeout=30, **options)


def as_detections(predictions: list[dict], expected: list[Detection]) -> list[Detection]:
    """`predictions` as the package's own type, for a comparison; the dialect has no colours."""
    colors = {detection.label: detection.color for detection in expected}
    return [
        Detection(
            (item["x_min"], item["y_min"], item["x_max"] - item["x_min"], item["y_max"] - item["y_min"]),
            colors[item["label"]],
            item["label"],
            item["confidence"],
        )
        for item in predictions
    ]


def test_deepstacks_python_client_finds_the_objects(url: str, picture: bytes, expected: list[Detection]) -> None:
    predictions = deepstack_client(url, api_key="whatever").detect(picture)

    assert differences(expected, as_detections(predictions, expected)) == []
    assert get_objects_summary(predictions) == {detection.label: 1 for detection in expected}


def test_its_custom_model_is_the_one_that_is_served(url: str, picture: bytes, expected: list[Detection]) -> None:
    assert len(deepstack_client(url, custom_model="roadsigns").detect(picture)) == len(expected)
    with pytest.raises(DeepstackException, match="raised error 404"):
        deepstack_client(url, custom_model="dark").detect(picture)


def test_its_confidence_counts(url: str, picture: bytes) -> None:
    few = deepstack_client(url, min_confidence=0.99).detect(picture)
    many = deepstack_client(url, min_confidence=0.001).detect(picture)
    assert 0 < len(few) < len(many)
    assert all(item["confidence"] > 0.99 for item in few)


def test_it_hears_of_a_broken_picture(url: str) -> None:
    with pytest.raises(DeepstackException, match="status code: 400"):
        deepstack_client(url).detect(b"no picture")


FRIGATE_ROWS = 20
FRIGATE_CONFIDENCE = 0.4


def frigate_detect(url: str, image: np.ndarray, labels: list[str]) -> np.ndarray:
    """What Frigate's detector of the type deepstack does with an answer: float32 (20, 6).

    It sends the key as a field, the picture without a name; it reads no status; it stops at the first row below its
    confidence or of an unknown label, and there is no room for a 21st; any form but this is a KeyError or IndexError.
    """
    height, width = image.shape[:2]
    encoded = cv2.imencode(".jpg", image)[1].tobytes()
    answer = requests.post(
        f"{url}/v1/vision/detection", data={"api_key": ""}, files={"image": encoded}, timeout=30
    ).json()
    found = np.zeros((FRIGATE_ROWS, 6), np.float32)
    if answer.get("predictions") is None:
        return found
    for row, item in enumerate(answer.get("predictions")):
        if item["confidence"] < FRIGATE_CONFIDENCE:
            break
        if item["label"].lower() not in labels:
            break
        corners = item["y_min"] / height, item["x_min"] / width, item["y_max"] / height, item["x_max"] / width
        found[row] = [labels.index(item["label"].lower()), float(item["confidence"]), *corners]
    return found


def test_frigate_finds_the_objects(url: str, picture: bytes, expected: list[Detection], roadsigns: Detector) -> None:
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)

    found = frigate_detect(url, image, roadsigns.model.labels)

    rows = found[: len(expected)]
    labels = [roadsigns.model.labels[int(row[0])] for row in rows]
    assert sorted(labels) == sorted(detection.label for detection in expected)
    assert (rows[:, 1] > FRIGATE_CONFIDENCE).all()
    assert (np.diff(rows[:, 1]) <= 0).all(), "the first weak row ends Frigate's reading"
    assert not found[len(expected) :].any()
    assert ((rows[:, 2:] >= 0) & (rows[:, 2:] <= 1)).all()
    assert (rows[:, 4:] > rows[:, 2:4]).all()


def test_frigate_survives_an_error(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imencode", lambda *_: (True, np.frombuffer(b"no picture", np.uint8)))
    assert not frigate_detect(url, np.zeros((9, 9, 3), np.uint8), ["stop"]).any()


def post(client: FlaskClient, data: bytes, path: str = "/v1/vision/detection", **fields: str):
    return client.post(path, data={"image": (io.BytesIO(data), "image.jpg"), **fields})


def test_times_and_counts_are_whole_numbers(client: FlaskClient, picture: bytes, expected: list[Detection]) -> None:
    answer = post(client, picture).json
    assert answer["success"] is True
    assert answer["count"] == len(answer["predictions"]) == len(expected)
    assert expected[0].label in answer["message"]
    times = [answer[name] for name in ("inferenceMs", "processMs", "analysisRoundTripMs")]
    assert all(isinstance(value, int) and value >= 0 for value in times)
    assert times == sorted(times)


def test_corners_stay_within_the_picture(client: FlaskClient, picture: bytes) -> None:
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    # Half of the stop sign at its left side.
    cut = np.ascontiguousarray(image[:, 80:])
    data = cv2.imencode(".png", cut)[1].tobytes()
    native = client.post("/predict?confidence=0.01", data=data).json
    assert any(item["boxes"][0] < 0 for item in native)
    for item in post(client, data, min_confidence="0.01").json["predictions"]:
        assert 0 <= item["x_min"] <= item["x_max"] <= cut.shape[1]
        assert 0 <= item["y_min"] <= item["y_max"] <= cut.shape[0]


@pytest.mark.parametrize("value", ["", "0.4", "0.40", " .4 "])
def test_the_default_confidence_is_deepstacks(
    client: FlaskClient, roadsigns: Detector, picture: bytes, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    asked = []
    predict = type(roadsigns).predict
    monkeypatch.setattr(type(roadsigns), "predict", lambda self, *rest: asked.append(rest[1]) or predict(self, *rest))
    assert post(client, picture, min_confidence=value).status_code == 200
    assert [(selection.confidence, selection.per_class_nms) for selection in asked] == [(0.4, True)]


@pytest.mark.parametrize("value", ["40", "-0.1", "nan", "much", "0,4"])
def test_a_confidence_that_is_no_number_from_0_to_1_is_refused(client: FlaskClient, picture: bytes, value: str) -> None:
    response = post(client, picture, min_confidence=value)
    assert_failure(response, 400)
    assert response.json["error"] == f"min_confidence is {value!r}, expected a number from 0 to 1"


def assert_failure(response, status: int) -> None:
    assert response.status_code == status, response.data
    assert response.content_type == "application/json"
    assert set(response.json) == {"success", "error"}
    assert response.json["success"] is False
    assert response.json["error"]


def test_every_error_has_the_dialects_form(app: Flask, engine: FakeEngine, picture: bytes) -> None:
    client = app.test_client()
    assert_failure(client.post("/v1/vision/detection", data={"image": "text"}), 400)
    assert_failure(client.get("/v1/vision/detection"), 405)
    assert_failure(client.post("/v1/vision/face"), 404)
    assert_failure(post(client, picture, "/v1/vision/custom/other"), 404)
    assert_failure(client.post("/v1/vision/detection", data=bytes(21 * 2**20)), 413)
    engine.infer = lambda blob: 1 / 0
    assert_failure(post(client, picture), 500)


def test_a_busy_service_says_so_in_the_dialect(client: FlaskClient, roadsigns: Detector, picture: bytes) -> None:
    form = {"image": (io.BytesIO(picture), "x")}
    response = client.post("/v1/vision/detection", data=form, environ_overrides=refused(12))
    assert_failure(response, 503)
    assert response.headers["Retry-After"] == "12"


def test_a_body_without_a_form_is_understood_too(
    client: FlaskClient, picture: bytes, expected: list[Detection]
) -> None:
    """curl --data-binary says application/x-www-form-urlencoded."""
    response = client.post(
        "/v1/vision/detection?min_confidence=0.5", data=picture, content_type="application/x-www-form-urlencoded"
    )
    assert response.json["count"] == len(expected)


def test_its_confidence_counts_wherever_it_stands(client: FlaskClient, picture: bytes) -> None:
    path, fields = "/v1/vision/detection", {"image": base64.b64encode(picture).decode(), "min_confidence": "0.999"}
    assert post(client, picture, min_confidence="0.999").json["count"] == 1
    assert client.post(f"{path}?min_confidence=0.999", data=picture).json["count"] == 1
    assert client.post(path, data=fields).json["count"] == 1
    assert client.post(path, json=fields).json["count"] == 1
    assert client.post(path, json={**fields, "min_confidence": 0.999}).json["count"] == 1
    # Zero is a confidence, not a missing one.
    assert client.post(path, json={**fields, "min_confidence": 0}).json["count"] > 6
    assert client.post(path, json={**fields, "min_confidence": True}).status_code == 400
    twice = post(client, picture, f"{path}?min_confidence=0.1", min_confidence="0.999")
    assert_failure(twice, 400)
    assert "min_confidence is given 2 times" in twice.json["error"]


def test_fields_that_it_does_not_know_are_ignored(
    client: FlaskClient, picture: bytes, expected: list[Detection]
) -> None:
    answer = post(client, picture, "/v1/vision/detection?camera=door", mode="x", triggers="a").json
    assert answer["count"] == len(expected)


@pytest.mark.parametrize("version", ["0.2.0", "0.2.0rc1", "0.2.0.dev3+local"])
def test_a_version_is_three_numbers(client: FlaskClient, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(deepstack, "__version__", version)
    answer = client.get("/v1/status/ping").json
    assert (answer["message"], answer["version"]) == (version, {"major": 0, "minor": 2, "patch": 0})


@pytest.mark.parametrize("prefix", ["/v1/status", "/v1/server/status"])
def test_status_checks(client: FlaskClient, prefix: str) -> None:
    """CodeProject.AI's old and new addresses; Blue Iris asks for updates, Home Assistant's users ping."""
    for name in ("ping", "version", "updateavailable"):
        answer = client.get(f"{prefix}/{name}")
        assert answer.status_code == 200
        assert answer.json["success"] is True
        assert {"major", "minor", "patch"} == set(answer.json["version"])
    assert client.get(f"{prefix}/updateavailable").json["updateAvailable"] is False


@pytest.mark.parametrize("method", ["get", "post"])
def test_the_list_of_models(client: FlaskClient, method: str) -> None:
    answer = getattr(client, method)("/v1/vision/custom/list").json
    assert answer == {"success": True, "models": ["roadsigns"]}
