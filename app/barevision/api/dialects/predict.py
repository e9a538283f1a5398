"""``POST /predict``: the tutorial's contract."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, Field
from werkzeug.exceptions import NotAcceptable

from barevision.api.errors import ProblemDocument, explain
from barevision.api.openapi import operation, text_schemas
from barevision.api.parameters import SelectionParameters, read_parameters
from barevision.api.prediction import RequestTurn, turn
from barevision.api.record import current_record
from barevision.api.service import current_service
from barevision.api.uploads import PICTURE_BODY, PICTURE_FORM, Upload, read_sent
from barevision.detection.selection import Selection
from barevision.errors import BusyError, PictureError, SideTooLongError
from barevision.objects import Detection
from barevision.pictures.annotate import annotate
from barevision.pictures.decode import LARGEST_SIDES, encode_image

bp = Blueprint("predict", __name__)

_ANNOTATED = {"image/jpeg": ".jpg", "image/png": ".png"}


class PredictParameters(SelectionParameters):
    """The parameters of ``/predict``: in the address, in a form's fields, or beside the picture in JSON."""

    annotate: bool = Field(False, description="Answer the picture with boxes drawn, as Accept: image/jpeg does")


class PictureInJson(PredictParameters):
    """A picture in a JSON object, and the parameters beside it."""

    image: str = Field(description="base64, or a data: URL", json_schema_extra={"contentEncoding": "base64"})


class PictureAnswer(BaseModel):
    """One of several pictures: its objects, or what was wrong with it."""

    file: str
    objects: list[Detection] | None = None
    problem: ProblemDocument | None = None


_FORM = {
    **PICTURE_FORM,
    "properties": {**PICTURE_FORM["properties"], **text_schemas(PredictParameters)},
    "additionalProperties": False,
}


@bp.post("/predict")
@operation(
    "What is on a picture",
    query=PredictParameters,
    body={**PICTURE_BODY, "multipart/form-data": _FORM, "application/json": PictureInJson},
    answers={200: {"application/json": list[Detection] | list[PictureAnswer], "image/jpeg": {}, "image/png": {}}},
    errors=(400, 406, 413, 415, 422, 503),
)
def predict_pictures() -> Response:
    """Answers a JSON list of objects, most confident first; the picture with boxes drawn if the client asks for that;
    of several pictures in a form, a list with an entry for each."""
    detector = current_service().detector
    # An address with something wrong in it is refused before the picture is read.
    read_parameters(PredictParameters).selection(detector)
    with turn() as mine:
        sent = read_sent()
        uploads, parameters = sent.uploads, read_parameters(PredictParameters, sent.fields)
        selection = parameters.selection(detector)
        # What is asked for by the parameter counts more than what is accepted.
        offered = [*_ANNOTATED] if parameters.annotate else ["application/json", *_ANNOTATED]
        media_type = request.accept_mimetypes.best_match(offered, offered[0])
        if media_type in _ANNOTATED:
            return _annotated(mine, uploads, selection, media_type)
        if len(uploads) > 1:
            return jsonify(list(_answers_of_several(mine, uploads, selection)))
        return jsonify([detection.to_json() for detection in mine.predict(uploads[0].read(), selection).detections])


def _annotated(mine: RequestTurn, uploads: list[Upload], selection: Selection, media_type: str) -> Response:
    if len(uploads) > 1:
        raise NotAcceptable(f"{len(uploads)} pictures can't be answered as {media_type}; ask for application/json")
    extension = _ANNOTATED[media_type]
    try:
        answer = mine.predict(uploads[0].read(), selection, max_side=LARGEST_SIDES[extension], full_size=True)
    except SideTooLongError as error:
        raise NotAcceptable(f"{error} in {media_type}; ask for application/json") from None
    with current_record().timed("draw"):
        drawn = encode_image(annotate(answer.image, answer.detections), extension)
    return Response(drawn, content_type=media_type)


def _answers_of_several(mine: RequestTurn, uploads: list[Upload], selection: Selection) -> Iterator[dict]:
    """A picture that can't be answered loses its own answer, not the others'. Each has a turn of its own."""
    for number, upload in enumerate(uploads):
        try:
            if number:
                mine.give_way()
            detections = mine.predict(upload.read(), selection).detections
        except (PictureError, BusyError) as error:
            yield {"file": upload.name, "problem": explain(error).document()}
        else:
            yield {"file": upload.name, "objects": [detection.to_json() for detection in detections]}
