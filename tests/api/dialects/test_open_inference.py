"""The Open Inference Protocol, asked by NVIDIA's client for it and by hand."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException

from barevision.api.readiness import Readiness
from barevision.errors import WrongAnswerError
from barevision.objects import Detection, differences
from tests.support.admission import refused
from tests.support.answers import detections
from tests.support.engines import FakeEngine

INFER = "/v2/models/roadsigns/infer"
JSON_LENGTH = "Inference-Header-Content-Length"


@pytest.fixture
def triton(url: str) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(url.removeprefix("http://"), network_timeout=60, connection_timeout=60) as client:
        yield client


def image_input(data: bytes, binary: bool = True) -> InferInput:
    tensor = InferInput("image", [1], "BYTES")
    element = data if binary else base64.b64encode(data)
    tensor.set_data_from_numpy(np.array([element], object), binary_data=binary)
    return tensor


def result_detections(result: InferResult, expected: list[Detection]) -> list[Detection]:
    """A result's tensors as the package's own type, for a comparison; the protocol has no colours."""
    colors = {detection.label: detection.color for detection in expected}
    boxes, scores, labels = (result.as_numpy(name) for name in ("boxes", "scores", "labels"))
    texts = [label.decode() if isinstance(label, bytes) else label for label in labels]
    return [
        Detection(tuple(box.tolist()), colors[label], label, float(score))
        for box, score, label in zip(boxes, scores, texts, strict=True)
    ]


def test_health_and_metadata(triton: InferenceServerClient) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("roadsigns")
    assert triton.is_model_ready("roadsigns", "1")
    assert not triton.is_model_ready("other")
    assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    model = triton.get_model_metadata("roadsigns", "1")
    assert (model["name"], model["versions"]) == ("roadsigns", ["1"])
    assert model["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [1]}]
    assert {item["name"]: item["datatype"] for item in model["outputs"]} == {
        "boxes": "INT32",
        "scores": "FP32",
        "labels": "BYTES",
    }
    with pytest.raises(InferenceServerException, match="there is no model 'other'"):
        triton.get_model_metadata("other")


@pytest.mark.parametrize("sent_binary", [True, False], ids=["binary in", "json in"])
@pytest.mark.parametrize("binary", [True, False, None], ids=["binary out", "json out", "all out"])
def test_the_golden_image(
    triton: InferenceServerClient, picture: bytes, expected: list[Detection], sent_binary: bool, binary: bool | None
) -> None:
    names = ("labels", "boxes", "scores")
    outputs = None if binary is None else [InferRequestedOutput(name, binary_data=binary) for name in names]

    result = triton.infer("roadsigns", [image_input(picture, sent_binary)], outputs=outputs, request_id="one")

    assert differences(expected, result_detections(result, expected)) == []
    assert result.get_response()["id"] == "one"
    assert result.get_response()["model_version"] == "1"
    wanted = names if outputs else ("boxes", "scores", "labels")
    assert [item["name"] for item in result.get_response()["outputs"]] == list(wanted)


def test_one_output_alone(triton: InferenceServerClient, picture: bytes, expected: list[Detection]) -> None:
    wanted = [InferRequestedOutput("scores", binary_data=False)]
    result = triton.infer("roadsigns", [image_input(picture)], outputs=wanted)
    assert [item["name"] for item in result.get_response()["outputs"]] == ["scores"]
    assert result.as_numpy("scores") == pytest.approx([detection.confidence for detection in expected], abs=0.02)


@pytest.mark.parametrize("binary", [True, False])
def test_nothing_on_a_picture(triton: InferenceServerClient, picture: bytes, binary: bool) -> None:
    outputs = [InferRequestedOutput(name, binary_data=binary) for name in ("boxes", "scores", "labels")]
    result = triton.infer("roadsigns", [image_input(picture)], outputs=outputs, parameters={"confidence": 1.0})
    shapes = [item["shape"] for item in result.get_response()["outputs"]]
    assert shapes == [[0, 4], [0], [0]]
    assert len(result.as_numpy("boxes")) == 0


def test_parameters_are_those_of_predict(
    triton: InferenceServerClient, client: FlaskClient, picture: bytes, expected: list[Detection]
) -> None:
    asked = {"confidence": 0.01, "nms": 0.9, "classes": "stop, no entry", "limit": 3, "per_class_nms": True}
    result = triton.infer("roadsigns", [image_input(picture)], parameters=asked)
    native = client.post("/predict", query_string=asked, data=picture).json
    assert differences(detections(native), result_detections(result, expected)) == []
    with pytest.raises(InferenceServerException, match=r"confidance.*parameters are confidence, nms"):
        triton.infer("roadsigns", [image_input(picture)], parameters={"confidance": 0.01})
    with pytest.raises(InferenceServerException, match="no class dog"):
        triton.infer("roadsigns", [image_input(picture)], parameters={"classes": "dog"})


def test_parameters_in_the_address_count_too(client: FlaskClient, picture: bytes) -> None:
    body = image_json(data=[base64.b64encode(picture).decode()])
    assert client.post(f"{INFER}?limit=2", json=body).json["outputs"][1]["shape"] == [2]
    for query, words in (("limit=2", "limit is given 2 times"), ("iou=1", "iou='1'")):
        response = client.post(f"{INFER}?{query}", json={**body, "parameters": {"limit": 3}})
        assert_error(response, 422)
        assert words in response.json["error"]
    response = client.post(INFER, json={**body, "parameters": {"confidence": True}})
    assert_error(response, 422)


def test_a_broken_picture_and_a_compressed_body(triton: InferenceServerClient, picture: bytes) -> None:
    with pytest.raises(InferenceServerException, match="no picture in one of these formats"):
        triton.infer("roadsigns", [image_input(b"no picture")])
    with pytest.raises(InferenceServerException, match="send it as it is"):
        triton.infer("roadsigns", [image_input(picture)], request_compression_algorithm="gzip")


def image_json(**changes: object) -> dict:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": ["aGVsbG8="]}
    return {"inputs": [{**tensor, **changes}]}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "the body is not JSON"),
        (b"{", 400, "the body is not JSON"),
        (b"[" * 101, 400, "more than 100 values"),
        (b'{"inputs":' * 101, 400, "more than 100 values"),
        (b'{"id":"' + b"a" * 100_000 + b'","inputs":7}', 422, "inputs=7"),
        (b"[]", 422, "fields are id, parameters, inputs, outputs"),
        (b"1" * 5000, 400, "the body is not JSON"),
        ({"inputs": []}, 422, "inputs=[]"),
        ({"inputs": image_json()["inputs"] * 2}, 422, "at most 1 item"),
        (image_json(name="picture"), 422, "inputs.0.name='picture'"),
        (image_json(datatype="FP32"), 422, "inputs.0.datatype='FP32'"),
        (image_json(shape=[2]), 422, "inputs.0.shape"),
        (image_json(shape=[2**70]), 422, "inputs.0.shape"),
        (image_json(shape=[]), 422, "inputs.0.shape"),
        (image_json(data=["a", "b"]), 422, "inputs.0.data"),
        (image_json(data=[["a", "b"]]), 422, "inputs.0.data"),
        (image_json(data=[[[[["a"]]]]]), 422, "inputs.0.data"),
        (image_json(data=None), 400, "neither data nor a parameter binary_data_size"),
        (image_json(data=["ä"]), 400, "base64"),
        (image_json(data=[""]), 400, "the picture is empty"),
        (image_json(), 400, "no picture"),
        (image_json(parameters={"binary_data_size": 5}), 400, "binary_data_size is 5, but 0 bytes"),
        (image_json(parameters={"binary_data_size": 0}), 400, "4 bytes, little-endian"),
        ({**image_json(), "outputs": [{"name": "masks"}]}, 422, "outputs.0.name='masks'"),
        ({**image_json(), "parameters": {"limit": 0}}, 422, "limit=0"),
        ({**image_json(), "parameters": {"limit": "9" * 5000}}, 422, "limit='999"),
    ],
)
def test_what_is_wrong_is_said(client: FlaskClient, body: dict | bytes, status: int, words: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = client.post(INFER, data=data, content_type="application/json")
    assert_error(response, status)
    assert words in response.json["error"]
    assert len(response.data) < 4000


@pytest.mark.parametrize("length", ["", "-1", "1e3", "99999999999999999999999", "1_0", "٣"])
def test_a_wrong_length_of_the_json_is_refused(client: FlaskClient, length: str) -> None:
    environ = {"HTTP_INFERENCE_HEADER_CONTENT_LENGTH": length}
    response = client.post(INFER, data=b"{}", environ_overrides=environ)
    assert_error(response, 400)
    assert JSON_LENGTH in response.json["error"]


@pytest.mark.parametrize("prefix", [struct.pack("<I", 5), struct.pack("<I", 2**32 - 1), b"\0\0\0"])
def test_a_binary_tensor_that_contradicts_itself_is_refused(client: FlaskClient, prefix: bytes) -> None:
    binary = prefix + b"x"
    head = json.dumps(image_json(data=None, parameters={"binary_data_size": len(binary)})).encode()
    response = client.post(INFER, data=head + binary, headers={JSON_LENGTH: str(len(head))})
    assert_error(response, 400)
    assert "4 bytes, little-endian" in response.json["error"]


def assert_error(response, status: int) -> None:
    assert response.status_code == status, response.data
    assert response.content_type == "application/json"
    assert set(response.json) == {"error"}
    assert response.json["error"]


def test_every_error_has_the_protocols_form(app: Flask, engine: FakeEngine, picture: bytes) -> None:
    client = app.test_client()
    assert_error(client.get("/v2/nothing"), 404)
    assert_error(client.get("/v2/models/other"), 404)
    assert_error(client.get("/v2/models/roadsigns/versions/2"), 404)
    assert_error(client.post("/v2/models/other/infer", data=b"{}"), 404)
    assert_error(client.get(INFER), 405)
    assert_error(client.post(INFER, data=bytes(21 * 2**20)), 413)
    busy = client.post(INFER, data=b"{}", environ_overrides=refused(12))
    assert_error(busy, 503)
    assert busy.headers["Retry-After"] == "12"
    engine.infer = lambda blob: 1 / 0
    good = image_json(data=[base64.b64encode(picture).decode()])
    assert_error(client.post(INFER, json=good), 500)


def test_not_ready_after_a_wrong_answer(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong() -> str:
        raise WrongAnswerError("missing: elephant")

    service = client.application.extensions["barevision"]
    not_ready = replace(service, readiness=Readiness(wrong, ask_after=60))
    monkeypatch.setitem(client.application.extensions, "barevision", not_ready)
    for path in ("/v2/health/ready", "/v2/models/roadsigns/ready"):
        response = client.get(path)
        assert_error(response, 503)
        assert "elephant" in response.json["error"]
    assert client.get("/v2/health/live").status_code == 200
