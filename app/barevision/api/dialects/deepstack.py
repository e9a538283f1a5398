"""``/v1``: the dialect of DeepStack and CodeProject.AI, which camera software speaks.

Seen in DeepStack's server and its clients, in CodeProject.AI's and in what Blue Iris asks other servers that speak it.
"""

from __future__ import annotations

import re

from flask import Blueprint, Response, abort, jsonify, request
from pydantic import BaseModel, Field

from barevision import __version__
from barevision.api.errors import Problem, quoted
from barevision.api.keys import FIELD, require_key_in
from barevision.api.openapi import operation
from barevision.api.prediction import turn
from barevision.api.record import current_record
from barevision.api.service import current_service
from barevision.api.uploads import PICTURE_FORM, read_sent
from barevision.detector import Answer

bp = Blueprint("deepstack", __name__, url_prefix="/v1")

# DeepStack's own default.
_MIN_CONFIDENCE = 0.4


class Prediction(BaseModel):
    """One object: its corners in pixels."""

    confidence: float = Field(ge=0, le=1)
    label: str
    x_min: int = Field(ge=0)
    y_min: int = Field(ge=0)
    x_max: int = Field(ge=0)
    y_max: int = Field(ge=0)


class Predictions(BaseModel):
    """What is on a picture."""

    success: bool
    message: str
    predictions: list[Prediction] = Field(description="Most confident first")
    count: int
    inferenceMs: int = Field(description="The network's time")  # noqa: N815 (the dialect's name)
    processMs: int = Field(description="With decoding and selecting")  # noqa: N815
    analysisRoundTripMs: int = Field(description="With waiting")  # noqa: N815


class Failure(BaseModel):
    """What went wrong."""

    success: bool
    error: str


class Status(BaseModel):
    """That the service is there, and which."""

    success: bool
    message: str
    version: dict


class Models(BaseModel):
    """The models that may stand in /v1/vision/custom/<name>."""

    success: bool
    models: list[str]


def error_response(problem: Problem) -> Response:
    """`problem` as clients of DeepStack expect it: its status, and words."""
    return problem.response({"success": False, "error": problem.detail})


_FIELDS = {
    "min_confidence": {"type": "number", "minimum": 0, "maximum": 1, "default": _MIN_CONFIDENCE},
    FIELD: {"type": "string"},
}
_DETECTION = {
    "body": {"multipart/form-data": {**PICTURE_FORM, "properties": {**PICTURE_FORM["properties"], **_FIELDS}}},
    "answers": {200: {"application/json": Predictions}},
    "errors": (400, 404, 413, 415, 503),
    "error": {"application/json": Failure},
}


@bp.post("/vision/detection")
@operation("What is on a picture, for DeepStack's clients", **_DETECTION)
def detect() -> Response:
    """A form with the picture in `image` and, if wanted, `min_confidence` (0.4); `api_key` where one is needed."""
    with turn() as mine:
        sent = read_sent()
        require_key_in(sent.fields)
        confidence = _min_confidence(sent.fields)
        # DeepStack lets only boxes of one class take each other out: a rider is not lost to the motorcycle.
        selection = current_service().detector.selection(confidence, per_class_nms=True)
        answer = mine.predict(sent.uploads[0].read(), selection)
        return jsonify(_predictions(answer))


def _predictions(answer: Answer) -> dict:
    height, width = answer.size
    predictions = []
    for detection in answer.detections:
        # Clients cut objects out of their picture, so corners have to lie within it.
        x, y, box_width, box_height = detection.box
        predictions.append(
            {
                "confidence": detection.confidence,
                "label": detection.label,
                "x_min": min(max(x, 0), width),
                "y_min": min(max(y, 0), height),
                "x_max": min(max(x + box_width, 0), width),
                "y_max": min(max(y + box_height, 0), height),
            }
        )
    labels = ", ".join(dict.fromkeys(detection.label for detection in answer.detections))
    return {
        "success": True,
        "message": f"Found {labels}" if labels else "No objects found",
        "predictions": predictions,
        "count": len(predictions),
        "inferenceMs": round(answer.seconds["infer"] * 1000),
        "processMs": round(sum(answer.seconds.values()) * 1000),
        "analysisRoundTripMs": round(current_record().milliseconds()),
    }


def _min_confidence(fields: list[tuple[str, object]]) -> float:
    values = [value for name, value in (*request.args.items(multi=True), *fields) if name == "min_confidence"]
    given = [value for value in values if value not in (None, "")]
    if not given:
        return _MIN_CONFIDENCE
    if len(given) > 1:
        abort(400, f"min_confidence is given {len(given)} times in address and body, expected once")
    (text,) = given
    try:
        # As text, because Python takes JSON's true for 1.
        value = float(str(text))
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        abort(400, f"min_confidence is {quoted(text)}, expected a number from 0 to 1")
    return value


@bp.post("/vision/custom/<name>")
@operation("The same by the model's name", **_DETECTION)
def custom(name: str) -> Response:
    """As /v1/vision/detection, if `name` is the model that is served."""
    served = current_service().detector.model.name
    if name != served:
        abort(404, f"there is no model {quoted(name)}; this service has {served}")
    return detect()


@bp.route("/vision/custom/list", methods=["GET", "POST"])
@operation("The models by name", answers={200: {"application/json": Models}})
def models() -> dict:
    """Blue Iris asks for it when it looks for models."""
    return {"success": True, "models": [current_service().detector.model.name]}


@bp.get("/status/ping")
@bp.get("/status/version")
@bp.get("/server/status/ping")
@bp.get("/server/status/version")
@operation("Whether the service is there", answers={200: {"application/json": Status}})
def ping() -> dict:
    """CodeProject.AI answers its version to a ping."""
    return {"success": True, "message": __version__, "version": _version()}


@bp.get("/status/updateavailable")
@bp.get("/server/status/updateavailable")
@operation("That no update is known", answers={200: {"application/json": Status}})
def update_available() -> dict:
    """Blue Iris asks for it. A deployment decides what runs, so this service never offers an update."""
    version = _version()
    return {
        "success": True,
        "message": "This is the current version",
        "version": version,
        "current": version,
        "latest": version,
        "updateAvailable": False,
    }


def _version() -> dict:
    # A version may go on behind its three numbers, as that of a candidate does.
    major, minor, patch = re.match(r"(\d+)\.(\d+)\.(\d+)", __version__).groups()
    return {"major": int(major), "minor": int(minor), "patch": int(patch)}
