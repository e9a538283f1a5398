"""The ways in which a picture may be sent, and what is refused of them."""

from __future__ import annotations

import base64
import gzip
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient

from barevision.api import create_app
from barevision.detector import Detector
from barevision.objects import Detection, differences
from barevision.pictures.decode import encode_image
from tests.fuzz.service import running_service
from tests.support.answers import detections
from tests.support.problems import assert_problem


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


#: A picture that a form has in a field of text; Werkzeug's own limit for those is 500 kB.
FIELD = b'--B\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + b"a" * 600_000 + b"\r\n--B--\r\n"


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
    ],
)
def test_refusals_are_problem_documents(client: FlaskClient, request_: dict, status: int, words: str) -> None:
    request_ = {name: value() if callable(value) else value for name, value in request_.items()}
    response = client.post("/predict", **request_)
    assert words in assert_problem(response, status)["detail"]


@pytest.mark.parametrize("accept", ["application/json", "image/jpeg"])
def test_a_side_that_is_longer_than_the_setting_allows_is_too_large_for_any_answer(
    client: FlaskClient, accept: str
) -> None:
    data = encode_image(np.zeros((1, 20_001, 3), np.uint8), ".png")
    response = client.post("/predict", data=data, headers={"Accept": accept})
    assert assert_problem(response, 413)["detail"] == "the picture has 20001x1 pixels, allowed are 20000 a side"


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


def test_a_form_whose_part_has_no_name_is_a_bad_request(client: FlaskClient) -> None:
    body = b"--B\r\nContent-Disposition: form-data; nam=x\r\n\r\nx\r\n--B--\r\n"
    response = client.post("/predict", data=body, content_type="multipart/form-data; boundary=B")
    assert "only these fields without a file name: none" in assert_problem(response, 400)["detail"]


def test_a_body_in_broken_chunks_is_a_bad_request(tmp_path: Path) -> None:
    """Gunicorn reads the chunks while the app reads the body."""
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    cases = {
        b"x\r\n": "the body: Invalid chunk size",
        b"3\r\nabcd\r\n0\r\n\r\n": "the body: Invalid chunk terminator",
        b"3;\xff\r\nabc\r\n": "the body: Invalid chunk extension",
        b"ffffffffffffffffffffff\r\nabc": "",
    }
    with running_service(tmp_path) as service:
        for body, words in cases.items():
            status, answer = service.ask(head + body, whole=False)
            problem = json.loads(answer)
            assert (status, problem["status"]) == (400, 400), body
            assert words in problem["detail"], body
