"""``POST /predict``: the tutorial's contract."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, jsonify, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.exceptions import NotAcceptable, UnprocessableEntity

from barevision.api.admission import stop_if_client_is_gone
from barevision.api.pictures import read_picture
from barevision.detection import LARGEST_SIDES, Selection, SideTooLongError, annotate, encode_image
from barevision.detector import Detector

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
    kind = request.accept_mimetypes.best_match(["application/json", *_ANNOTATED], "application/json")
    with current_app.extensions["door"].enter(request.environ), detector.turn():
        data = read_picture()
        stop_if_client_is_gone(request.environ)
        selection = detector.selection(parameters.confidence, parameters.nms)
        if kind in _ANNOTATED:
            return _annotated(detector, data, selection, kind)
        return jsonify(detector.answer(data, selection, whole=False).objects)


def _annotated(detector: Detector, data: bytes, selection: Selection, kind: str) -> Response:
    extension = _ANNOTATED[kind]
    try:
        answer = detector.answer(data, selection, LARGEST_SIDES[extension])
    except SideTooLongError as error:
        raise NotAcceptable(f"{error} in {kind}; ask for application/json") from None
    return Response(encode_image(annotate(answer.image, answer.objects), extension), content_type=kind)


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
