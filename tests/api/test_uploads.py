"""The ways in which a picture may be sent, and what is refused of them."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, quote_plus

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
    response = client.post("/predict", json={"image": prefix + encode(picture).decode()})
    assert differences(expected, detections(response.json)) == []


def test_base64_in_json_as_php_and_dotnet_write_it(
    client: FlaskClient, picture: bytes, expected: list[Detection]
) -> None:
    text = base64.b64encode(picture).decode().replace("/", "\\/").replace("+", "\\u002B")
    response = client.post("/predict", data=f'{{"image": "{text}"}}', content_type="application/json")
    assert differences(expected, detections(response.json)) == []


def form(*parts: tuple[str | bytes, bytes], end: bytes = b"--B--\r\n", newline: bytes = b"\r\n") -> bytes:
    """A form's body with the boundary B: of each part the header's lines, and the content."""
    heads = [head if isinstance(head, bytes) else head.encode() for head, _ in parts]
    contents = [content for _, content in parts]
    return (
        b"".join(
            b"--B" + newline + head + 2 * newline + content + newline
            for head, content in zip(heads, contents, strict=True)
        )
        + end
    )


FILE = 'Content-Disposition: form-data; name="image"; filename="x.jpg"'
FIELD = 'Content-Disposition: form-data; name="image"'
FORM_TYPE = "multipart/form-data; boundary=B"


@pytest.mark.parametrize(
    "head",
    [
        *(
            FILE.replace("x", name).encode(encoding)
            for name, encoding in (
                ("Ofslútdyk", "latin-1"),
                ("€", "cp1252"),
                ("фото", "cp1251"),
                ("фото", "koi8-r"),
                ("图片", "gbk"),
                ("写真", "euc-jp"),
                ("사진", "euc-kr"),
                ("ภาพ", "cp874"),
                ("表.jpg表", "shift-jis"),
                ("功", "big5"),
            )
        ),
        # The second half of the last letter is a backslash, which would escape the quote.
        FILE.replace("x.jpg", "表").encode("shift-jis"),
        FILE.replace("x.jpg", "功").encode("big5"),
        FILE.replace('"x.jpg"', "ä.jpg").encode("latin-1"),
        FILE.replace('"image"', '"Bïld"').encode("latin-1"),
        FILE.encode() + "\r\nContent-Description: Ofslútdyk".encode("latin-1"),
        FILE.replace('"x.jpg"', "a b.jpg"),
        FILE.replace("x.jpg", 'a"b.jpg'),
        FILE.replace("x.jpg", "C:\\fakepath\\"),
        FILE.replace('filename="x.jpg"', "filename*=GBK''%CD%BC.jpg"),
        FILE.replace(";", ","),
        FILE.replace("Content-Disposition", "content-disposition").replace('"', ""),
        "Content-Type: image/jpeg",
        FIELD + "\r\nContent-Type: application/octet-stream",
        FIELD,
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/v1/vision/detection"])
def test_a_file_is_found_whatever_its_part_says_of_it(
    client: FlaskClient, picture: bytes, expected: list[Detection], path: str, head: str | bytes
) -> None:
    response = client.post(path, data=form((head, picture)), content_type=FORM_TYPE)
    assert response.status_code == 200, response.text
    answer = response.json if path == "/predict" else response.json["predictions"]
    assert len(answer) == len(expected)


def test_the_name_of_a_file_is_answered_as_far_as_it_can_be_read(client: FlaskClient, picture: bytes) -> None:
    head = FILE.replace("x.jpg", "Ofslútdyk.jpg").encode("latin-1")
    answer = client.post("/predict", data=form((head, picture), (FILE, picture)), content_type=FORM_TYPE).json
    assert [item["file"] for item in answer] == ["Ofsl\ufffdtdyk.jpg", "x.jpg"]


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=other",
        "multipart/mixed; boundary=B",
        "application/json",
        "application/x-www-form-urlencoded",
        "image/jpeg",
        None,
    ],
)
@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
def test_a_form_is_one_whatever_its_type_says(
    client: FlaskClient, picture: bytes, expected: list[Detection], content_type: str | None, newline: bytes
) -> None:
    """Axios and fetch() send a type without a boundary where a page sets it by hand."""
    response = client.post("/predict", data=form((FILE, picture), newline=newline), content_type=content_type)
    assert differences(expected, detections(response.json)) == []


@pytest.mark.parametrize("content_type", ["application/json", FORM_TYPE, "application/x-www-form-urlencoded"])
def test_a_picture_is_one_whatever_its_type_says(
    client: FlaskClient, picture: bytes, expected: list[Detection], content_type: str
) -> None:
    response = client.post("/predict", data=picture, content_type=content_type)
    assert differences(expected, detections(response.json)) == []


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/vnd.x+json", FORM_TYPE]
)
def test_json_is_taken_whatever_its_type_says(
    client: FlaskClient, picture: bytes, expected: list[Detection], content_type: str | None
) -> None:
    """curl --data says application/x-www-form-urlencoded."""
    body = b"\n" + json.dumps({"image": base64.b64encode(picture).decode()}).encode()
    response = client.post("/predict", data=body, content_type=content_type)
    if content_type == FORM_TYPE:
        assert "the boundary 'B' is not in the body" in assert_problem(response, 400)["detail"]
    else:
        assert differences(expected, detections(response.json)) == []


@pytest.mark.parametrize("prefix", [b"", b"data:image/jpeg;base64,"])
def test_base64_in_a_field_of_a_form(
    client: FlaskClient, picture: bytes, expected: list[Detection], prefix: bytes
) -> None:
    body = form((FIELD, prefix + base64.encodebytes(picture)))
    response = client.post("/predict", data=body, content_type=FORM_TYPE)
    assert differences(expected, detections(response.json)) == []


@pytest.mark.parametrize(
    "value",
    [
        quote_plus,
        lambda picture: quote_plus(base64.b64encode(picture)),
        lambda picture: quote(base64.b64encode(picture)),
        base64.b64encode,
    ],
    ids=["bytes", "base64", "base64 with spaces as %20", "base64 as it is"],
)
def test_an_urlencoded_form(client: FlaskClient, picture: bytes, expected: list[Detection], value: Callable) -> None:
    """What requests sends of data={"image": ...}, and curl of --data, which escapes nothing."""
    text = value(picture)
    body = b"limit=2&image=" + (text.encode() if isinstance(text, str) else text)
    response = client.post("/predict", data=body, content_type="application/x-www-form-urlencoded")
    assert differences(expected[:2], detections(response.json)) == []


def part_header(length: int) -> bytes:
    return form((FILE + "\r\nX-Lines: " + "a\r\n " * (length // 4), b"x"))


def bomb() -> bytes:
    """A small file of 64 million pixels."""
    return encode_image(np.zeros((8000, 8000, 3), np.uint8), ".png")


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        ({"data": b""}, 400, "the picture is empty"),
        ({"data": b"no picture"}, 400, "no picture in one of these formats"),
        ({"data": {"text": "only"}, "content_type": "multipart/form-data"}, 400, "no picture; send it as a file. Its"),
        ({"data": {"text": "only"}, "content_type": "multipart/form-data"}, 400, "without a file name: text"),
        ({"data": {"a": "x", "image": "no base64"}, "content_type": FORM_TYPE}, 400, "neither a picture nor base64"),
        ({"data": {str(number): "" for number in range(21)}, "content_type": "multipart/form-data"}, 413, "20 parts"),
        (
            {"data": form((FILE, b"x"), end=b""), "content_type": FORM_TYPE},
            400,
            "off in its part 1: the line --B-- that",
        ),
        (
            {"data": form((FILE, b"x"), end=b"--B\r\n" + FILE.encode()), "content_type": FORM_TYPE},
            400,
            "header of its part 2",
        ),
        ({"data": b"text", "content_type": "multipart/form-data"}, 400, "the Content-Type has no boundary"),
        (
            {"data": form((FILE, b"x"))[2:], "content_type": "multipart/form-data; boundary=other"},
            400,
            "boundary 'other'",
        ),
        ({"data": b"x--Bx", "content_type": FORM_TYPE}, 400, "the boundary 'B' is not in the body"),
        ({"data": b"--B--", "content_type": FORM_TYPE}, 400, "no picture; send it as a file"),
        ({"data": part_header(20_000), "content_type": FORM_TYPE}, 413, "bytes, allowed are 16384"),
        ({"data": b"image=%zz", "content_type": "application/x-www-form-urlencoded"}, 400, "'%zz'; a % itself"),
        ({"data": b"a=&" * 21, "content_type": "application/x-www-form-urlencoded"}, 413, "20 parts"),
        ({"data": b"a=x", "content_type": "application/x-www-form-urlencoded"}, 400, "without a file name: a"),
        ({"data": {"f": (io.BytesIO(b"x"), "x.jpg")}}, 400, "no picture"),
        ({"json": {"picture": "x"}}, 400, 'expected {"image"'),
        ({"json": ["x"]}, 400, 'expected {"image"'),
        ({"json": {"image": "äöü"}}, 400, "not valid base64"),
        ({"data": b"{", "content_type": "application/json"}, 400, "the body is not JSON"),
        ({"data": b'{"image": ' * 101, "content_type": "application/json"}, 400, "more than 100 values"),
        ({"data": b"[" * 101, "content_type": "application/json"}, 400, "more than 100 values"),
        ({"data": b"[" + b"0," * 100 + b"0]", "content_type": "application/json"}, 400, "more than 100 values"),
        ({"data": b"1" * 5000, "content_type": "application/json"}, 400, "the body is not JSON"),
        ({"data": b'{"image": "", "nms": 0, "nms": 1}', "content_type": "application/json"}, 400, "it has 'nms' twice"),
        ({"data": b'"\xff"', "content_type": "application/json"}, 400, "the body is not JSON"),
        ({"data": bytes(20 * 2**20 + 1)}, 413, "20971520 bytes"),
        ({"data": bomb}, 413, "8000x8000 = 64000000 pixels, allowed are 50000000"),
    ],
)
def test_refusals_are_problem_documents(client: FlaskClient, request_: dict, status: int, words: str) -> None:
    request_ = {name: value() if callable(value) else value for name, value in request_.items()}
    problem = assert_problem(client.post("/predict", **request_), status)
    assert words in problem["detail"]
    # NGINX's title for 413 is the same.
    assert problem["title"] == {400: "Bad Request", 413: "Content Too Large"}[status]


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
    body = form(("Content-Disposition: form-data; nam=x", b"x"))
    response = client.post("/predict", data=body, content_type=FORM_TYPE)
    assert "fields without a file name: none" in assert_problem(response, 400)["detail"]


@pytest.mark.parametrize("coding", ["Identity", " identity ", ""])
def test_a_body_that_says_that_it_is_not_compressed_is_taken(client: FlaskClient, picture: bytes, coding: str) -> None:
    assert client.post("/predict", data=picture, headers={"Content-Encoding": coding}).status_code == 200


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
