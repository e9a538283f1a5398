"""``POST /predict``: the tutorial's contract."""

from __future__ import annotations

import base64
import binascii
import json

import numpy as np
from flask import Blueprint, Response, abort, current_app, jsonify, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.exceptions import NotAcceptable, RequestEntityTooLarge, UnprocessableEntity

from barevision.api.admission import stop_if_client_is_gone
from barevision.detection import LARGEST_SIDES, annotate, decode_image, encode_image

predict = Blueprint("predict", __name__)

_ANNOTATED = {"image/jpeg": ".jpg", "image/png": ".png"}
# {"image": "<base64>"} has two of them with a data URL. Each one more may be a value to make, or a level to descend.
_MAX_JSON_MARKS = 100


class Parameters(BaseModel):
    """The query parameters; anything else in the query is an error."""

    model_config = ConfigDict(extra="forbid")

    confidence: float | None = Field(None, ge=0, le=1)
    nms: float | None = Field(None, ge=0, le=1)


@predict.post("/predict")
def predict_objects() -> Response:
    """Answers what is on the posted picture: a JSON list, or the annotated picture if the client accepts only that."""
    detector = current_app.extensions["detector"]
    parameters = _parameters()
    kind = request.accept_mimetypes.best_match(["application/json", *_ANNOTATED], "application/json")
    with current_app.extensions["door"].enter(request.environ), detector.turn():
        data = _picture()
        stop_if_client_is_gone(request.environ)
        image = decode_image(data, detector.settings.max_pixels)
        if kind in _ANNOTATED:
            _check_sides(image, kind)
        answer = detector.predict(image, parameters.confidence, parameters.nms)
        if kind in _ANNOTATED:
            return Response(encode_image(annotate(image, answer), _ANNOTATED[kind]), content_type=kind)
    return jsonify(answer)


def _parameters() -> Parameters:
    for name, values in request.args.lists():
        if len(values) > 1:
            raise UnprocessableEntity(f"{name} is given {len(values)} times, expected once")
    try:
        return Parameters(**request.args.to_dict())
    except ValidationError as error:
        details = "; ".join(f"{item['loc'][0]}={item['input']!r}: {item['msg']}" for item in error.errors())
        allowed = ", ".join(Parameters.model_fields)
        raise UnprocessableEntity(f"{details} (parameters are {allowed})") from None


def _check_sides(image: np.ndarray, kind: str) -> None:
    height, width = image.shape[:2]
    largest = LARGEST_SIDES[_ANNOTATED[kind]]
    if max(height, width) > largest:
        raise NotAcceptable(
            f"the picture has {width}x{height} pixels, and {kind} allows {largest} a side; ask for application/json"
        )


def _picture() -> bytes:
    """The encoded picture: the first file of a form, the base64 in a JSON object, or else the body as it is."""
    if request.mimetype == "multipart/form-data":
        return _picture_in_form()
    if request.mimetype == "application/json":
        return _picture_in_json()
    return _body()


def _body() -> bytes:
    # Flask would keep a second reference to it until the answer is sent.
    data = request.get_data(cache=False)
    if len(data) > current_app.extensions["detector"].settings.max_bytes:
        raise RequestEntityTooLarge
    return data


def _picture_in_form() -> bytes:
    file = next(iter(request.files.values()), None)
    if file is None:
        fields = ", ".join(request.form) or "none"
        abort(400, f"the form has no file, only these fields without a file name: {fields}; send the picture as a file")
    return file.read()


def _picture_in_json() -> bytes:
    body = _json_body()
    text = body.get("image") if isinstance(body, dict) else None
    if not isinstance(text, str):
        abort(400, 'expected {"image": "<base64>"}')
    try:
        # Mail's and base64(1)'s base64 has line breaks.
        return base64.b64decode("".join((text.partition("base64,")[2] or text).split()), validate=True)
    except (binascii.Error, ValueError):
        abort(400, '"image" is not valid base64')


def _json_body() -> object:
    body = _body()
    if sum(body.count(mark) for mark in (b"{", b"[", b",")) > _MAX_JSON_MARKS:
        abort(400, f'the JSON has more than {_MAX_JSON_MARKS} values, expected {{"image": "<base64>"}}')
    try:
        return json.loads(body)
    except ValueError as error:
        abort(400, f'the body is no JSON ({error}), expected {{"image": "<base64>"}}')
