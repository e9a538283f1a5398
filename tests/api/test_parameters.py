"""What may be asked beside the picture, and what is refused."""

from __future__ import annotations

import base64
import io
import json

import pytest
from flask.testing import FlaskClient

from barevision.objects import Detection
from tests.support.problems import assert_problem


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("confidence=2", "confidence='2'"),
        ("limit=0", "limit='0'"),
        ("limit=1.5", "limit='1.5'"),
        ("limit=" + "9" * 5000, "limit='999"),
        ("per_class_nms=maybe", "per_class_nms='maybe'"),
        ("annotate=2", "annotate='2'"),
        ("classes=", "labels with commas"),
        ("classes=stop,,no entry", "labels with commas"),
        ("classes=dog,stop", "no class dog; it has stop, give way"),
        ("confidence=nan", "confidence='nan'"),
        ("confidance=0.2", "parameters are confidence, nms"),
        ("nms=0.2&nms=x", "nms is given 2 times"),
        ("a" * 3000 + "=1", "aaa...='1'"),
        ("classes=" + ",".join(["x" * 3000, *map(str, range(1000))]), "no class 0, 1, 10"),
    ],
)
def test_wrong_parameters_are_refused_by_name(client: FlaskClient, query: str, words: str) -> None:
    response = client.post("/predict", query_string=query, data=b"x")
    detail = assert_problem(response, 422)["detail"]
    assert words in detail
    assert len(detail) < 1000


def send(client: FlaskClient, way: str, picture: bytes, parameters: dict, path: str = "/predict"):
    """`picture` with `parameters` in the address, in the fields of a form, or beside it in JSON."""
    match way:
        case "address":
            return client.post(path, data=picture, query_string=parameters)
        case "form":
            return client.post(path, data={"file": (io.BytesIO(picture), "x.jpg"), **parameters})
        case "urlencoded form":
            return client.post(path, data={"image": base64.b64encode(picture).decode(), **parameters})
        case "JSON":
            return client.post(path, json={"image": base64.b64encode(picture).decode(), **parameters})


WAYS = ["address", "form", "urlencoded form", "JSON"]
TEXTS = {"confidence": "0.01", "nms": "0.9", "classes": "stop, no entry", "limit": "3", "per_class_nms": "true"}
VALUES = {"confidence": 0.01, "nms": 0.9, "classes": "stop, no entry", "limit": 3, "per_class_nms": True}


@pytest.mark.parametrize("way", WAYS)
def test_parameters_count_wherever_they_stand(client: FlaskClient, picture: bytes, way: str) -> None:
    expected = client.post("/predict", data=picture, query_string=TEXTS).json
    assert len(expected) == 3
    assert send(client, way, picture, TEXTS).json == expected
    if way == "JSON":
        assert send(client, way, picture, VALUES).json == expected
    annotated = send(client, way, picture, {"annotate": "true"})
    assert annotated.content_type == "image/jpeg"
    assert annotated.data == client.post("/predict?annotate=1", data=picture).data


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"size": "640", "iou": "0.45"}, "iou='0.45': Extra inputs are not permitted (parameters are confidence, nms"),
        ({"confidence": "2"}, "confidence='2'"),
        ({"classes": "dog"}, "no class dog; it has stop, give way"),
        ({"classes": ""}, "classes='': expected labels with commas between them"),
        ({"limit": "1" * 3000}, "limit='111"),
        ({"a" * 3000: "1"}, "aaa...='1'"),
    ],
)
def test_wrong_parameters_are_refused_wherever_they_stand(
    client: FlaskClient, picture: bytes, way: str, parameters: dict, words: str
) -> None:
    detail = assert_problem(send(client, way, picture, parameters), 422)["detail"]
    assert words in detail
    assert len(detail) < 1000


@pytest.mark.parametrize("way", WAYS[1:])
def test_a_parameter_stands_in_one_place(client: FlaskClient, picture: bytes, way: str) -> None:
    response = send(client, way, picture, {"confidence": "0.999"}, "/predict?confidence=0.5")
    assert "confidence is given 2 times" in assert_problem(response, 422)["detail"]
    others = send(client, way, picture, {"confidence": "0.01"}, "/predict?limit=2")
    assert len(others.json) == 2


def test_a_text_that_begins_as_pictures_do_is_a_text(client: FlaskClient, picture: bytes) -> None:
    for label in ("BMW", "RIFF", "GIF89", "II*"):
        response = send(client, "form", picture, {"classes": label})
        assert f"no class {label};" in assert_problem(response, 422)["detail"]


def test_a_field_of_a_form_is_given_once_and_short(client: FlaskClient, picture: bytes) -> None:
    twice = send(client, "form", picture, {"nms": ["0.3", "0.3"]})
    assert "nms is given 2 times" in assert_problem(twice, 422)["detail"]
    long = send(client, "form", picture, {"classes": "x" * 70_000})
    assert "the field 'classes' has 70000 bytes, allowed are 65536" in assert_problem(long, 422)["detail"]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"confidence": True}, "confidence=True: expected a number"),
        ({"limit": True}, "limit=True: expected a number"),
        ({"confidence": [0.5]}, "confidence=[0.5]"),
        ({"classes": 7}, "classes=7"),
        ({"per_class_nms": 7}, "per_class_nms=7"),
    ],
)
def test_json_of_other_types_is_refused(client: FlaskClient, picture: bytes, parameters: dict, words: str) -> None:
    assert words in assert_problem(send(client, "JSON", picture, parameters), 422)["detail"]


def test_null_in_json_is_the_default(client: FlaskClient, picture: bytes, expected: list[Detection]) -> None:
    response = send(client, "JSON", picture, {"confidence": None, "classes": None, "limit": None})
    assert len(response.json) == len(expected)


def test_several_files_share_a_forms_parameters(client: FlaskClient, picture: bytes) -> None:
    files = {name: (io.BytesIO(picture), "x.jpg") for name in ("a", "b")}
    answer = client.post("/predict", data={**files, "limit": "1"}).json
    assert [len(item["objects"]) for item in answer] == [1, 1]


def test_a_missing_field_is_not_reported_with_all_that_is_there(client: FlaskClient) -> None:
    response = client.post("/v2/models/roadsigns/infer", data=json.dumps({"id": "door-17"}))
    assert response.json["error"] == "inputs: Field required (fields are id, parameters, inputs, outputs)"
