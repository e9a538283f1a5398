"""``/v2``: the Open Inference Protocol over HTTP, with its extension for binary tensors.

https://github.com/kserve/open-inference-protocol and Triton's "Binary Tensor Data Extension". One picture goes in as a
tensor of BYTES; boxes, scores and labels come out.
"""

from __future__ import annotations

import json
import struct

import numpy as np
from flask import Blueprint, Response, abort, request
from pydantic import BaseModel

from barevision import __version__
from barevision.api.dialects.open_inference_schema import (
    ImageTensor,
    InferenceFailure,
    InferenceParameters,
    InferenceRequest,
    InferenceResponse,
    Live,
    ModelMetadata,
    Ready,
    RequestedOutput,
    ServerMetadata,
)
from barevision.api.errors import Problem, quoted
from barevision.api.openapi import operation
from barevision.api.parameters import read_parameters, validated
from barevision.api.prediction import turn
from barevision.api.service import current_service
from barevision.api.status import require_ready
from barevision.api.uploads import decode_base64, parse_json, read_body
from barevision.objects import Detection

bp = Blueprint("open_inference", __name__, url_prefix="/v2")

_VERSION = "1"
_JSON_LENGTH = "Inference-Header-Content-Length"
_EXPECTED = '{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["<base64>"]}]}'
# In a binary tensor of BYTES, each element follows its length.
_LENGTH = struct.Struct("<I")
# The tensors that come out: type, and shape behind the number of detections.
_OUTPUTS = {"boxes": ("INT32", [4]), "scores": ("FP32", []), "labels": ("BYTES", [])}


def error_response(problem: Problem) -> Response:
    """`problem` in the protocol's form."""
    return problem.response({"error": problem.detail})


def _described(answer: type[BaseModel], *errors: int) -> dict:
    answers = {200: {"application/json": answer}}
    return {"answers": answers, "errors": errors, "error": {"application/json": InferenceFailure}}


@bp.get("")
@operation("What the service is", **_described(ServerMetadata))
def server() -> dict:
    """Name, version and extensions of the protocol."""
    return {"name": "barevision", "version": __version__, "extensions": ["binary_tensor_data"]}


@bp.get("/health/live")
@operation("Whether the process lives", **_described(Live))
def live() -> dict:
    """As /healthz."""
    return {"live": True}


@bp.get("/health/ready")
@operation("Whether the model answers rightly", **_described(Ready, 503))
def ready() -> dict:
    """As /readyz."""
    require_ready()
    return {"ready": True}


@bp.get("/models/<name>/ready")
@bp.get("/models/<name>/versions/<version>/ready")
@operation("Whether this model answers rightly", **_described(Ready, 404, 503))
def model_ready(name: str, version: str = _VERSION) -> dict:
    """As /readyz, for the model that is served."""
    _check_model(name, version)
    return ready()


@bp.get("/models/<name>")
@bp.get("/models/<name>/versions/<version>")
@operation("The model's tensors", **_described(ModelMetadata, 404))
def model(name: str, version: str = _VERSION) -> dict:
    """Names, types and shapes of what goes in and comes out."""
    _check_model(name, version)
    return {
        "name": name,
        "versions": [_VERSION],
        "platform": f"{current_service().detector.engine.plan.engine}_onnx",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1]}],
        # -1 stands for the number of detections, which the picture decides.
        "outputs": [_metadata(output, -1) for output in _OUTPUTS],
    }


@bp.post("/models/<name>/infer")
@bp.post("/models/<name>/versions/<version>/infer")
@operation(
    "What is on a picture, as tensors",
    body={"application/json": InferenceRequest},
    headers={_JSON_LENGTH: {"type": "integer", "minimum": 0}},
    answers={200: {"application/json": InferenceResponse, "application/octet-stream": {}}},
    errors=(400, 404, 413, 415, 422, 503),
    error={"application/json": InferenceFailure},
)
def infer(name: str, version: str = _VERSION) -> Response:
    """Boxes (x, y, width and height in pixels), scores and labels of the objects, most confident first. With the
    header, the body is as many bytes of JSON and then the picture as a binary tensor; outputs may be binary too."""
    _check_model(name, version)
    with turn() as mine:
        inference, binary = _read_request()
        parameters = read_parameters(InferenceParameters, inference.parameters.items())
        picture = _read_picture(inference.inputs[0], binary)
        # Decoding takes memory enough: what the picture came in is given back before.
        del binary
        inference.inputs.clear()
        detections = mine.predict(picture, parameters.selection(current_service().detector)).detections

    tensors, parts = [], []
    for output in inference.outputs or [RequestedOutput(name=name) for name in _OUTPUTS]:
        tensor, elements = _metadata(output.name, len(detections)), _elements(output.name, detections)
        if output.parameters.get("binary_data", parameters.binary_data_output) is True:
            parts.append(_binary(output.name, elements))
            tensor["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            tensor["data"] = elements
        tensors.append(tensor)
    answer = {"model_name": current_service().detector.model.name, "model_version": _VERSION}
    if inference.id is not None:
        answer["id"] = inference.id
    head = json.dumps({**answer, "outputs": tensors}, separators=(",", ":")).encode()
    if not parts:
        return Response(head, content_type="application/json")
    headers = {_JSON_LENGTH: str(len(head))}
    return Response(b"".join([head, *parts]), headers=headers, content_type="application/octet-stream")


def _check_model(name: str, version: str) -> None:
    served = current_service().detector.model.name
    if (name, version) != (served, _VERSION):
        abort(404, f"there is no model {quoted(name)} version {quoted(version)}; it is {served} version {_VERSION}")


def _read_request() -> tuple[InferenceRequest, bytes]:
    """The request's JSON, checked, and what follows it: a binary tensor, if the header says where the JSON ends."""
    body = read_body()
    text = request.headers.get(_JSON_LENGTH, str(len(body)))
    if not text.isascii() or not text.isdigit() or len(text) > 20 or int(text) > len(body):
        abort(400, f"{_JSON_LENGTH} is {quoted(text)}, expected a number up to the body's {len(body)} bytes")
    length = int(text)
    return validated(InferenceRequest, parse_json(body[:length], _EXPECTED), "fields"), body[length:]


def _read_picture(tensor: ImageTensor, binary: bytes) -> bytes:
    """The encoded picture in `tensor`, or in what follows the JSON."""
    size = tensor.parameters.get("binary_data_size")
    if size is not None:
        if size != len(binary):
            abort(400, f"binary_data_size is {quoted(size)}, but {len(binary)} bytes follow the JSON")
        if len(binary) < _LENGTH.size or _LENGTH.unpack_from(binary)[0] != len(binary) - _LENGTH.size:
            abort(400, "a BYTES tensor of one element is its length as 4 bytes, little-endian, and that many bytes")
        return binary[_LENGTH.size :]
    if tensor.data is None:
        abort(400, f"the tensor image has neither data nor a parameter binary_data_size, expected {_EXPECTED}")
    (element,) = tensor.data
    if isinstance(element, list):
        (element,) = element
    try:
        return decode_base64(element)
    except ValueError as error:
        abort(400, f"the data of the tensor image is {error}; a picture in JSON is base64")


def _metadata(output: str, count: int) -> dict:
    datatype, shape = _OUTPUTS[output]
    return {"name": output, "datatype": datatype, "shape": [count, *shape]}


def _elements(output: str, detections: list[Detection]) -> list:
    """The tensor's elements, one after the other."""
    if output == "boxes":
        return [side for detection in detections for side in detection.box]
    if output == "scores":
        return [detection.confidence for detection in detections]
    return [detection.label for detection in detections]


def _binary(output: str, elements: list) -> bytes:
    if output == "labels":
        labels = [label.encode() for label in elements]
        return b"".join(_LENGTH.pack(len(label)) + label for label in labels)
    return np.array(elements, "<i4" if output == "boxes" else "<f4").tobytes()
