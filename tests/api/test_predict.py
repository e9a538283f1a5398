"""POST /predict by the tutorial's contract, and what it refuses."""

from __future__ import annotations

import base64
import gzip
import io
import json
import socket
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests
from click.testing import CliRunner
from flask.testing import FlaskClient
from gunicorn.http.errors import InvalidChunkSize
from werkzeug.datastructures import MultiDict

from barevision.api import create_app
from barevision.api.admission import SPARE_THREADS
from barevision.cli import main
from barevision.client import Client
from barevision.detector import Detector, load_detector
from barevision.errors import ServiceError
from barevision.objects import Detection, differences
from barevision.pictures.decode import encode_image
from barevision.serving.worker import THREADS
from barevision.settings import load_settings
from tests.support.answers import detections
from tests.support.darknet_files import write_model
from tests.support.serving import served


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


def test_a_form_with_a_file(client: FlaskClient, picture: bytes, expected: list[Detection]) -> None:
    response = client.post("/predict", data={"whatever": (io.BytesIO(picture), "golden.jpg")})
    assert differences(expected, detections(response.json)) == []


def test_a_form_with_a_file_without_a_name(client: FlaskClient, picture: bytes, expected: list[Detection]) -> None:
    head = b'--B\r\nContent-Disposition: form-data; name="i"; filename=""\r\n\r\n'
    body = head + picture + b"\r\n--B--\r\n"
    response = client.post("/predict", data=body, content_type="multipart/form-data; boundary=B")
    assert differences(expected, detections(response.json)) == []


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.encodebytes], ids=["one line", "lines"])
def test_base64_in_json(client: FlaskClient, picture: bytes, expected: list[Detection], prefix: str, encode) -> None:
    response = client.post("/predict", json={"image": prefix + encode(picture).decode(), "name": "golden.jpg"})
    assert differences(expected, detections(response.json)) == []


def test_base64_in_json_as_php_and_dotnet_write_it(
    client: FlaskClient, picture: bytes, expected: list[Detection]
) -> None:
    text = base64.b64encode(picture).decode().replace("/", "\\/").replace("+", "\\u002B")
    response = client.post("/predict", data=f'{{"image": "{text}"}}', content_type="application/json")
    assert differences(expected, detections(response.json)) == []


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
    client: FlaskClient, roadsigns: Detector, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two classes at one place, as somebody on a motorcycle."""
    rows = np.zeros((2, 4 + len(roadsigns.model.labels)), np.float32)
    rows[:, :4], rows[0, 4], rows[1, 5] = 0.5, 0.9, 0.8
    monkeypatch.setattr(type(roadsigns.engine), "infer", lambda *_: rows)
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


def test_a_service_that_fails_has_no_answers_of_several(
    client: FlaskClient, roadsigns: Detector, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(roadsigns.engine), "infer", lambda *_: 1 / 0)
    parts = {"a": (io.BytesIO(picture), "a.jpg"), "b": (io.BytesIO(picture), "b.jpg")}
    assert_problem(client.post("/predict", data=parts), 500)


def test_several_files_are_no_annotated_picture(client: FlaskClient, picture: bytes) -> None:
    parts = {"a": (io.BytesIO(picture), "a.jpg"), "b": (io.BytesIO(picture), "b.jpg")}
    response = client.post("/predict?annotate=1", data=parts)
    assert_problem(response, 406)
    assert "2 pictures can't be answered as image/jpeg" in response.json["detail"]


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


@pytest.mark.parametrize(("kind", "magic"), [("image/jpeg", b"\xff\xd8"), ("image/png", b"\x89PNG")])
def test_the_annotated_picture(client: FlaskClient, picture: bytes, kind: str, magic: bytes) -> None:
    response = client.post("/predict", data=picture, headers={"Accept": kind})
    assert response.content_type == kind
    assert response.data.startswith(magic)
    drawn = cv2.imdecode(np.frombuffer(response.data, np.uint8), cv2.IMREAD_COLOR)
    original = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == original.shape
    assert np.abs(drawn.astype(int) - original).max() > 100


@pytest.mark.parametrize(("kind", "width"), [("image/jpeg", 65_501), ("image/png", 1_000_001)])
def test_a_picture_that_cannot_be_answered_is_refused_before_it_is_predicted(
    roadsigns: Detector, monkeypatch: pytest.MonkeyPatch, kind: str, width: int
) -> None:
    settings = roadsigns.settings.model_copy(update={"max_side": 2_000_000})
    client = create_app(replace(roadsigns, settings=settings)).test_client()
    monkeypatch.setattr(type(roadsigns.engine), "infer", lambda *_: pytest.fail("predicted"))
    wide = np.zeros((1, width, 3), np.uint8)
    response = client.post("/predict", data=cv2.imencode(".tiff", wide)[1].tobytes(), headers={"Accept": kind})
    assert_problem(response, 406)
    assert f"{width}x1 pixels, allowed are {width - 1} a side in {kind}" in response.json["detail"]


#: A picture that a form has in a field of text; Werkzeug's own limit for those is 500 kB.
FIELD = b'--B\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + b"a" * 600_000 + b"\r\n--B--\r\n"


@pytest.mark.parametrize("accept", ["application/json", "image/jpeg"])
def test_a_side_that_is_longer_than_the_setting_allows_is_too_large_for_any_answer(
    client: FlaskClient, accept: str
) -> None:
    data = encode_image(np.zeros((1, 20_001, 3), np.uint8), ".png")
    response = client.post("/predict", data=data, headers={"Accept": accept})
    assert_problem(response, 413)
    assert response.json["detail"] == "the picture has 20001x1 pixels, allowed are 20000 a side"


def bomb() -> bytes:
    """A small file of 64 million pixels."""
    return encode_image(np.zeros((8000, 8000, 3), np.uint8), ".png")


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        ({"data": b""}, 400, "the picture is empty"),
        ({"data": b"no picture"}, 400, "no picture in one of these formats"),
        ({"data": {"text": "only"}, "content_type": "multipart/form-data"}, 400, "without a file name: text; send"),
        ({"data": FIELD, "content_type": "multipart/form-data; boundary=B"}, 400, "without a file name: image"),
        ({"data": {str(number): "" for number in range(21)}, "content_type": "multipart/form-data"}, 413, "20 parts"),
        ({"data": {"f": (io.BytesIO(b"x"), "x.jpg")}}, 400, "no picture"),
        ({"json": {"picture": "x"}}, 400, 'expected {"image"'),
        ({"json": ["x"]}, 400, 'expected {"image"'),
        ({"json": {"image": "äöü"}}, 400, "not valid base64"),
        ({"data": b"{", "content_type": "application/json"}, 400, "the body is not JSON"),
        ({"data": b'{"image": ' * 101, "content_type": "application/json"}, 400, "more than 100 values"),
        ({"data": b"[" * 101, "content_type": "application/json"}, 400, "more than 100 values"),
        ({"data": b"[" + b"0," * 100 + b"0]", "content_type": "application/json"}, 400, "more than 100 values"),
        ({"data": b"1" * 5000, "content_type": "application/json"}, 400, "the body is not JSON"),
        ({"data": b'"\xff"', "content_type": "application/json"}, 400, "the body is not JSON"),
        ({"data": bytes(20 * 2**20 + 1)}, 413, "20971520 bytes"),
        ({"data": bomb}, 413, "8000x8000 = 64000000 pixels, allowed are 50000000"),
        ({"data": b"x", "query_string": "confidence=2"}, 422, "confidence='2'"),
        ({"data": b"x", "query_string": "limit=0"}, 422, "limit='0'"),
        ({"data": b"x", "query_string": "limit=1.5"}, 422, "limit='1.5'"),
        ({"data": b"x", "query_string": "limit=" + "9" * 5000}, 422, "limit='999"),
        ({"data": b"x", "query_string": "per_class_nms=maybe"}, 422, "per_class_nms='maybe'"),
        ({"data": b"x", "query_string": "annotate=2"}, 422, "annotate='2'"),
        ({"data": b"x", "query_string": "classes="}, 422, "labels with commas"),
        ({"data": b"x", "query_string": "classes=stop,,no entry"}, 422, "labels with commas"),
        ({"data": b"x", "query_string": "classes=dog,stop"}, 422, "no class dog; it has stop, give way"),
        ({"data": b"x", "query_string": "confidence=nan"}, 422, "confidence='nan'"),
        ({"data": b"x", "query_string": "confidance=0.2"}, 422, "parameters are confidence, nms"),
        ({"data": b"x", "query_string": "nms=0.2&nms=x"}, 422, "nms is given 2 times"),
    ],
)
def test_refusals_are_problem_documents(client: FlaskClient, request_: dict, status: int, words: str) -> None:
    request_ = {name: value() if callable(value) else value for name, value in request_.items()}
    response = client.post("/predict", **request_)
    assert_problem(response, status)
    assert words in response.json["detail"]


def assert_problem(response, status: int) -> None:
    assert response.status_code == status, response.data
    assert response.content_type == "application/problem+json"
    assert set(response.json) == {"type", "title", "status", "detail"}
    assert response.json["status"] == status


def test_a_body_in_broken_chunks_is_a_bad_request(client: FlaskClient) -> None:
    """Gunicorn reads such a body while the app does."""

    class Broken(io.BytesIO):
        def read(self, size: int = -1) -> bytes:
            raise InvalidChunkSize(b"x")

        readinto = read

    chunked = {"input_stream": Broken(), "environ_overrides": {"wsgi.input_terminated": True}}
    response = client.post("/predict", **chunked)
    assert_problem(response, 400)
    assert "chunk size" in response.json["detail"]


def test_other_paths_and_methods(client: FlaskClient) -> None:
    response = client.get("/nothing")
    assert_problem(response, 404)
    assert response.json["detail"] == "there is nothing at '/nothing'; /docs shows what there is"
    assert_problem(client.post("//predict", data=b"x"), 404)
    response = client.get("/predict")
    assert_problem(response, 405)
    assert "POST" in response.headers["Allow"]
    assert response.json["detail"] == "'/predict' does not allow GET; allowed: POST, OPTIONS"


@pytest.mark.parametrize("path", ["/predict", "/v1/vision/detection", "/v2/models/roadsigns/infer"])
def test_a_compressed_body_is_refused(client: FlaskClient, picture: bytes, path: str) -> None:
    response = client.post(path, data=gzip.compress(picture), headers={"Content-Encoding": "gzip"})
    assert response.status_code == 415
    assert "the body is compressed" in response.text


def status_without_length(detector: Detector, limit: int, body: bytes, content_type: str) -> int:
    """The status that `body` gets if it comes in chunks to a service that allows `limit` bytes."""
    settings = detector.settings.model_copy(update={"max_bytes": limit})
    client = create_app(replace(detector, settings=settings)).test_client()
    chunked = {"input_stream": io.BytesIO(body), "environ_overrides": {"wsgi.input_terminated": True}}
    return client.post("/predict", content_type=content_type, **chunked).status_code


def test_a_body_over_the_limit_without_a_length_is_refused(roadsigns: Detector, picture: bytes) -> None:
    for more, status in ((0, 200), (1, 413), (10_000, 413)):
        assert status_without_length(roadsigns, len(picture), picture + bytes(more), "image/jpeg") == status


def test_a_form_may_be_as_large_as_the_limit(roadsigns: Detector, picture: bytes) -> None:
    head = b'--B\r\nContent-Disposition: form-data; name="i"; filename="x"\r\n\r\n'
    body = head + picture + b"\r\n--B--"
    assert status_without_length(roadsigns, len(body), body, "multipart/form-data; boundary=B") == 200


def test_no_turn_in_time_is_503_with_retry_after(
    roadsigns: Detector, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = replace(roadsigns, settings=roadsigns.settings.model_copy(update={"queue_seconds": 0.05}))
    app = create_app(detector)
    client = app.test_client()
    with app.extensions["barevision"].admission.turn(), monkeypatch.context() as patch:
        patch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
        response = client.post("/predict", data=picture)
    assert_problem(response, 503)
    assert response.headers["Retry-After"] == "1"
    assert client.post("/predict", data=picture).status_code == 200


def test_more_requests_than_places_are_refused_at_once_and_health_is_still_answered(
    roadsigns: Detector, picture: bytes
) -> None:
    app = create_app(roadsigns)
    client, environ = app.test_client(), {THREADS: SPARE_THREADS + 2}
    admission = app.extensions["barevision"].admission
    with admission.turn(), admission.place(environ), admission.place(environ):
        response = client.post("/predict", data=picture, environ_overrides=environ)
        assert_problem(response, 503)
        assert "2 requests are being handled or wait" in response.json["detail"]
        assert response.headers["Retry-After"] == "1"
        assert client.get("/readyz", environ_overrides=environ).status_code == 200
    assert client.post("/predict", data=picture, environ_overrides=environ).status_code == 200


def test_what_was_refused_gives_its_place_back(client: FlaskClient, picture: bytes) -> None:
    environ = {THREADS: 1}
    assert client.post("/predict", data=b"no picture", environ_overrides=environ).status_code == 400
    assert client.post("/predict", data=picture, environ_overrides=environ).status_code == 200


def test_a_picture_is_not_predicted_for_a_client_that_is_gone(
    client: FlaskClient, roadsigns: Detector, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        environ = {"gunicorn.socket": ours}
        assert client.post("/predict", data=picture, environ_overrides=environ).status_code == 200
        theirs.close()
        monkeypatch.setattr(type(roadsigns.engine), "infer", lambda *_: pytest.fail("predicted"))
        assert client.post("/predict", data=picture, environ_overrides=environ).status_code == 400


def test_a_network_that_answers_nan_is_a_fault_and_not_an_empty_list(
    roadsigns: Detector, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = create_app(roadsigns).test_client()
    monkeypatch.setattr(type(roadsigns.engine), "infer", lambda *_: np.full((10, 10), np.nan, np.float32))
    assert_problem(client.post("/predict", data=picture), 500)


def test_a_fault_of_ours_is_a_500_that_tells_nothing(
    roadsigns: Detector, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = create_app(roadsigns).test_client()
    monkeypatch.setattr(type(roadsigns.engine), "infer", lambda *_: 1 / 0)
    response = client.post("/predict", data=picture)
    assert_problem(response, 500)
    assert "division" not in response.text


@pytest.mark.parametrize("engine", ["onnxruntime", "opencv"])
def test_threads_never_get_each_others_boxes(roadsigns: Detector, picture: bytes, engine: str) -> None:
    settings = load_settings(models_dir=roadsigns.settings.models_dir, engine=engine, concurrency=4)
    app = create_app(load_detector(settings))
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    pictures = [
        encode_image(np.ascontiguousarray(np.roll(image, shift, axis=1)), ".png") for shift in (0, 90, 200, 330)
    ]
    alone = [app.test_client().post("/predict", data=data).json for data in pictures]
    assert len({json.dumps(answer) for answer in alone}) == 4
    wrong = []

    def ask(number: int) -> None:
        for _ in range(15):
            answer = app.test_client().post("/predict", data=pictures[number]).json
            wrong.extend(differences(detections(alone[number]), detections(answer), pixels=1, confidence=1e-3))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_command_line_over_http(url: str, picture: bytes, expected: list[Detection], tmp_path: Path) -> None:
    path = tmp_path / "signs.jpg"
    path.write_bytes(picture)
    result = CliRunner().invoke(main, ["predict", str(path), "--url", url, "--json", "--save", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    direct = requests.post(f"{url}/predict", data=picture, timeout=30).json()
    assert json.loads(result.stdout) == direct
    assert (tmp_path / "out" / "signs.jpg").exists()
    assert differences(expected, detections(direct)) == []

    path.write_text("no picture")
    result = CliRunner().invoke(main, ["predict", str(path), "--url", url])
    assert result.exit_code == 1
    assert "answers 400: this is no picture" in result.stderr

    result = CliRunner().invoke(main, ["models", "check", "roadsigns", "--url", url])
    assert result.exit_code == 0
    assert result.stdout.endswith(f"the golden image's {len(expected)} boxes were found\n")


@pytest.mark.parametrize(
    "answer", [b"{}", b"[1]", b'[{"label": "cat"}]', b"null", b'[{"boxes": [1, 2, 3, 4], "color": 1, "label": "a"}]']
)
def test_another_services_answer_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    response = requests.Response()
    response.status_code, response._content = 200, answer
    monkeypatch.setattr(requests.Session, "request", lambda *_, **__: response)
    with pytest.raises(ServiceError, match="http://x/predict does not answer a list of detections"):
        Client("http://x").predict(b"")


def test_a_model_without_a_golden_image_is_checked_for_form(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    settings = load_settings(model=str(folder), models_dir=tmp_path / "models")
    with served(create_app(load_detector(settings))) as url:
        result = CliRunner().invoke(main, ["models", "check", str(folder), "--url", url])
    assert (result.exit_code, result.stdout) == (0, f"{folder} has no golden image; {url} answered a drawn picture\n")


@pytest.mark.parametrize("wanted", ["mine", "roadsigns@256"])
def test_another_models_answer_is_an_error(url: str, tmp_path: Path, wanted: str) -> None:
    model = str(write_model(tmp_path / "mine")) if wanted == "mine" else wanted
    result = CliRunner().invoke(main, ["models", "check", model, "--url", url])
    assert result.exit_code == 1
    assert f"Error: {url} serves {{'name': 'roadsigns'" in result.stderr
