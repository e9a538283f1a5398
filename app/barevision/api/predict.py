"""``POST /predict``: the tutorial's contract."""

from __future__ import annotations

import base64
import binascii

from flask import Blueprint, Response, abort, current_app, jsonify, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.exceptions import UnprocessableEntity

from barevision.detection import annotate, decode_image, encode_image

predict = Blueprint("predict", __name__)

_ANNOTATED = {"image/jpeg": ".jpg", "image/png": ".png"}


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
    image = decode_image(_picture(), detector.settings.max_pixels)
    answer = detector.predict(image, parameters.confidence, parameters.nms)
    kind = request.accept_mimetypes.best_match(["application/json", *_ANNOTATED], "application/json")
    if kind in _ANNOTATED:
        return Response(encode_image(annotate(image, answer), _ANNOTATED[kind]), content_type=kind)
    return jsonify(answer)


def _parameters() -> Parameters:
    try:
        return Parameters(**request.args.to_dict())
    except ValidationError as error:
        details = "; ".join(f"{item['loc'][0]}={item['input']!r}: {item['msg']}" for item in error.errors())
        allowed = ", ".join(Parameters.model_fields)
        raise UnprocessableEntity(f"{details} (parameters are {allowed})") from None


def _picture() -> bytes:
    """The encoded picture: the first file of a form, the base64 in a JSON object, or else the body as it is."""
    if request.mimetype == "multipart/form-data":
        file = next(iter(request.files.values()), None)
        return file.read() if file else abort(400, "the form has no file, expected a picture in a file field")
    if request.mimetype == "application/json":
        return _base64_picture()
    # Cached, it would be kept beside the decoded picture for the whole request.
    return request.get_data(cache=False)


def _base64_picture() -> bytes:
    body = request.get_json()
    text = body.get("image") if isinstance(body, dict) else None
    if not isinstance(text, str):
        abort(400, 'expected {"image": "<base64>"}')
    try:
        return base64.b64decode(text.partition("base64,")[2] or text, validate=True)
    except (binascii.Error, ValueError):
        abort(400, '"image" is not valid base64')
