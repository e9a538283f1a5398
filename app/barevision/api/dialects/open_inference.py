"""``/v2``: the Open Inference Protocol over HTTP, with its extension for binary tensors.

https://github.com/kserve/open-inference-protocol and Triton's "Binary Tensor Data Extension". One picture goes in as a
tensor of BYTES; boxes, scores and labels come out.
"""

from __future__ import annotations

import json
import struct
from itertools import chain
from typing import Annotated, Literal, NamedTuple, TypeVar

import numpy as np
from flask import Blueprint, Response, abort, request
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from barevision import __version__
from barevision.api.describe import operation
from barevision.api.errors import Problem, error_response, shown
from barevision.api.health import ready_finding
from barevision.api.parameters import SelectionParameters, validated
from barevision.api.prediction import turn
from barevision.api.service import service
from barevision.api.uploads import decode_base64, parse_json, read_body
from barevision.detector import Answer

open_inference = Blueprint("open_inference", __name__, url_prefix="/v2")

_VERSION = "1"
_JSON_LENGTH = "Inference-Header-Content-Length"
_MAX_PARAMETERS = 8
_LENGTH = struct.Struct("<I")
_EXPECTED = '{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["<base64>"]}]}'


class _Output(NamedTuple):
    """A tensor that comes out: what of an object it has, as what; its shape behind the number of objects."""

    key: str
    datatype: str
    shape: tuple[int, ...]
    #: None for text.
    dtype: str | None


_OUTPUTS = {
    "boxes": _Output("boxes", "INT32", (4,), "<i4"),
    "scores": _Output("confidence", "FP32", (), "<f4"),
    "labels": _Output("label", "BYTES", (), None),
}

Scalar = bool | int | float | str | None
Element = TypeVar("Element")
One = Annotated[list[Element], Field(min_length=1, max_length=1)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ImageTensor(_Asked):
    """The picture: base64 in `data`, or `binary_data_size` bytes behind the JSON."""

    name: Literal["image"]
    datatype: Literal["BYTES"]
    shape: list[Literal[1]] = Field(min_length=1, max_length=4)
    parameters: dict[str, Scalar] = Field({}, max_length=_MAX_PARAMETERS)
    data: One[str] | One[One[str]] | None = None


class RequestedOutput(_Asked):
    """An output that is wanted; binary if its parameter `binary_data` is true."""

    name: Literal["boxes", "scores", "labels"]
    parameters: dict[str, Scalar] = Field({}, max_length=_MAX_PARAMETERS)


class InferenceParameters(SelectionParameters):
    """What to select, as in the query of /predict, and whether all outputs are wanted binary."""

    binary_data_output: bool = False


class InferenceRequest(_Asked):
    """One picture, what to select, and which outputs are wanted."""

    id: Annotated[str, Field(max_length=1000)] | None = None
    # Checked on its own, for an error that says what is allowed there.
    parameters: Annotated[dict[str, Scalar], WithJsonSchema(InferenceParameters.model_json_schema())] = {}
    inputs: list[ImageTensor] = Field(min_length=1, max_length=1)
    outputs: Annotated[list[RequestedOutput], Field(max_length=8)] | None = None


class TensorMetadata(BaseModel):
    """A tensor's form; -1 stands for the number of objects."""

    name: str
    datatype: str
    shape: list[int]


class OutputTensor(TensorMetadata):
    """A tensor with its numbers, or how many bytes behind the JSON are it."""

    data: list[float] | list[str] | None = None
    parameters: dict[str, int] | None = None


class InferenceResponse(BaseModel):
    """What is on the picture."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class ModelMetadata(BaseModel):
    """The model that is served."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(BaseModel):
    """The service."""

    name: str
    version: str
    extensions: list[str]


class InferenceError(BaseModel):
    """What went wrong."""

    error: str


def open_inference_error(problem: Problem) -> Response:
    """`problem` in the protocol's form."""
    return error_response(problem, {"error": problem.detail})


_ERROR = {"application/json": InferenceError}


def _described(answer: type[BaseModel], *errors: int) -> dict:
    return {"answers": {200: {"application/json": answer}}, "errors": errors, "error": _ERROR}


class Live(BaseModel):
    """The process answers."""

    live: bool


class Ready(BaseModel):
    """The model answers its golden image rightly."""

    ready: bool


@open_inference.get("")
@operation("What the service is", **_described(ServerMetadata))
def server() -> dict:
    """Name, version and extensions of the protocol."""
    return {"name": "barevision", "version": __version__, "extensions": ["binary_tensor_data"]}


@open_inference.get("/health/live")
@operation("Whether the process lives", **_described(Live))
def live() -> dict:
    """As /healthz."""
    return {"live": True}


@open_inference.get("/health/ready")
@operation("Whether the model answers rightly", **_described(Ready, 503))
def ready() -> dict:
    """As /readyz."""
    ready_finding()
    return {"ready": True}


@open_inference.get("/models/<name>/ready")
@open_inference.get("/models/<name>/versions/<version>/ready")
@operation("Whether this model answers rightly", **_described(Ready, 404, 503))
def model_ready(name: str, version: str = _VERSION) -> dict:
    """As /readyz, for the model that is served."""
    _check_model(name, version)
    return ready()


@open_inference.get("/models/<name>")
@open_inference.get("/models/<name>/versions/<version>")
@operation("The model's tensors", **_described(ModelMetadata, 404))
def model(name: str, version: str = _VERSION) -> dict:
    """Names, types and shapes of what goes in and comes out."""
    _check_model(name, version)
    return {
        "name": name,
        "versions": [_VERSION],
        "platform": f"{service.detector.settings.engine}_onnx",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1]}],
        "outputs": [_metadata(name, -1) for name in _OUTPUTS],
    }


@open_inference.post("/models/<name>/infer")
@open_inference.post("/models/<name>/versions/<version>/infer")
@operation(
    "What is on a picture, as tensors",
    body={"application/json": InferenceRequest},
    headers={_JSON_LENGTH: {"type": "integer", "minimum": 0}},
    answers={200: {"application/json": InferenceResponse, "application/octet-stream": {}}},
    errors=(400, 404, 413, 415, 422, 503),
    error=_ERROR,
)
def infer(name: str, version: str = _VERSION) -> Response:
    """Boxes (x, y, width and height in pixels), scores and labels of the objects, most confident first. With the
    header, the body is as many bytes of JSON and then the picture as a binary tensor; outputs may be binary too."""
    _check_model(name, version)
    with turn() as predict_picture:
        asked, binary = _asked()
        parameters = validated(InferenceParameters, asked.parameters)
        answer = predict_picture(_picture(asked.inputs[0], binary), parameters.selection(service.detector))
        return _response(asked, parameters.binary_data_output, answer)


def _check_model(name: str, version: str) -> None:
    served = service.detector.model.name
    if (name, version) != (served, _VERSION):
        abort(404, f"there is no model {shown(name)} version {shown(version)}; it is {served} version {_VERSION}")


def _asked() -> tuple[InferenceRequest, bytes]:
    """The request's JSON, checked, and what stands behind it."""
    body = read_body()
    text = request.headers.get(_JSON_LENGTH, str(len(body)))
    if not text.isascii() or not text.isdigit() or len(text) > 20 or int(text) > len(body):
        abort(400, f"{_JSON_LENGTH} is {shown(text)}, expected a number up to the body's {len(body)} bytes")
    length = int(text)
    return validated(InferenceRequest, parse_json(body[:length], _EXPECTED), "fields"), body[length:]


def _picture(tensor: ImageTensor, binary: bytes) -> bytes:
    size = tensor.parameters.get("binary_data_size")
    if size is None:
        return _picture_in_json(tensor)
    if size != len(binary):
        abort(400, f"binary_data_size is {shown(size)}, but {len(binary)} bytes stand behind the JSON")
    if len(binary) < _LENGTH.size or _LENGTH.unpack_from(binary)[0] != len(binary) - _LENGTH.size:
        abort(400, "a BYTES tensor of one element is its length as 4 bytes, little-endian, and that many bytes")
    return binary[_LENGTH.size :]


def _picture_in_json(tensor: ImageTensor) -> bytes:
    if tensor.data is None:
        abort(400, f"the tensor image has neither data nor a parameter binary_data_size, expected {_EXPECTED}")
    (element,) = tensor.data
    if isinstance(element, list):
        (element,) = element
    try:
        return decode_base64(element)
    except ValueError as error:
        abort(400, f"the data of the tensor image is {error}; a picture in JSON is base64")


def _response(asked: InferenceRequest, binary: bool, answer: Answer) -> Response:
    outputs, parts = [], []
    for output in asked.outputs or [RequestedOutput(name=name) for name in _OUTPUTS]:
        tensor = _metadata(output.name, len(answer.objects))
        elements = _elements(output.name, answer.objects)
        if output.parameters.get("binary_data", binary) is True:
            data = _as_bytes(elements, _OUTPUTS[output.name].dtype)
            tensor["parameters"] = {"binary_data_size": len(data)}
            parts.append(data)
        else:
            tensor["data"] = elements
        outputs.append(tensor)
    found = {"model_name": service.detector.model.name, "model_version": _VERSION}
    if asked.id is not None:
        found["id"] = asked.id
    head = json.dumps({**found, "outputs": outputs}, separators=(",", ":")).encode()
    if not parts:
        return Response(head, content_type="application/json")
    headers = {_JSON_LENGTH: str(len(head))}
    return Response(b"".join([head, *parts]), headers=headers, content_type="application/octet-stream")


def _metadata(name: str, count: int) -> dict:
    output = _OUTPUTS[name]
    return {"name": name, "datatype": output.datatype, "shape": [count, *output.shape]}


def _elements(name: str, objects: list[dict]) -> list:
    """The tensor's elements, one after the other."""
    output = _OUTPUTS[name]
    found = [item[output.key] for item in objects]
    return list(chain.from_iterable(found)) if output.shape else found


def _as_bytes(elements: list, dtype: str | None) -> bytes:
    if dtype:
        return np.array(elements, dtype).tobytes()
    texts = [text.encode() for text in elements]
    return b"".join(_LENGTH.pack(len(text)) + text for text in texts)
