"""``POST /predict``: the tutorial's contract."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, Field
from werkzeug.exceptions import NotAcceptable

from barevision.api.describe import PICTURE_BODY, PICTURE_FORM, ProblemDocument, operation
from barevision.api.errors import explain, problem_document
from barevision.api.parameters import SelectionParameters, query_parameters
from barevision.api.prediction import Predict, turn
from barevision.api.record import record
from barevision.api.service import service
from barevision.api.uploads import Upload, read_pictures
from barevision.detection.selection import Selection
from barevision.detector import Stopwatch
from barevision.errors import PictureError, SideTooLongError
from barevision.pictures.annotate import annotate
from barevision.pictures.decode import LARGEST_SIDES, encode_image

predict = Blueprint("predict", __name__)

_ANNOTATED = {"image/jpeg": ".jpg", "image/png": ".png"}


class Parameters(SelectionParameters):
    """The query parameters of ``/predict``."""

    annotate: bool = Field(False, description="Answer the picture with boxes drawn, as Accept: image/jpeg does")


class PictureInJson(BaseModel):
    """A picture in a JSON object."""

    image: str = Field(description="base64, or a data: URL", json_schema_extra={"contentEncoding": "base64"})


class DetectedObject(BaseModel):
    """One object on a picture."""

    boxes: list[int] = Field(min_length=4, max_length=4, description="x, y, width and height in pixels")
    color: list[int] = Field(min_length=3, max_length=3, description="The class's colour")
    label: str
    confidence: float = Field(ge=0, le=1)


class PictureAnswer(BaseModel):
    """One of several pictures: its objects, or what was wrong with it."""

    file: str
    objects: list[DetectedObject] | None = None
    problem: ProblemDocument | None = None


@predict.post("/predict")
@operation(
    "What is on a picture",
    query=Parameters,
    body={**PICTURE_BODY, "multipart/form-data": PICTURE_FORM, "application/json": PictureInJson},
    answers={200: {"application/json": list[DetectedObject] | list[PictureAnswer], "image/jpeg": {}, "image/png": {}}},
    errors=(400, 406, 413, 415, 422, 503),
)
def predict_objects() -> Response:
    """Answers a JSON list of objects, most confident first; the picture with boxes drawn if the client asks for that;
    of several pictures in a form, a list with an entry for each."""
    parameters = query_parameters(Parameters)
    selection = parameters.selection(service.detector)
    kind = _kind(parameters.annotate)
    with turn() as predict_picture:
        uploads = read_pictures()
        if kind in _ANNOTATED:
            return _annotated(predict_picture, uploads, selection, kind)
        if len(uploads) > 1:
            return jsonify([_answer_of_several(predict_picture, upload, selection) for upload in uploads])
        return jsonify(predict_picture(uploads[0].read(), selection).objects)


def _kind(annotated: bool) -> str:
    """The media type to answer with: what is asked for in the query counts more than what is accepted."""
    offered = list(_ANNOTATED) if annotated else ["application/json", *_ANNOTATED]
    return request.accept_mimetypes.best_match(offered, offered[0])


def _annotated(predict_picture: Predict, uploads: list[Upload], selection: Selection, kind: str) -> Response:
    if len(uploads) > 1:
        raise NotAcceptable(f"{len(uploads)} pictures can't be answered as {kind}; ask for application/json")
    extension = _ANNOTATED[kind]
    try:
        answer = predict_picture(uploads[0].read(), selection, LARGEST_SIDES[extension])
    except SideTooLongError as error:
        raise NotAcceptable(f"{error} in {kind}; ask for application/json") from None
    watch = Stopwatch()
    drawn = encode_image(annotate(answer.image, answer.objects), extension)
    watch.lap("draw")
    record().lap("draw", watch.seconds["draw"])
    return Response(drawn, content_type=kind)


def _answer_of_several(predict_picture: Predict, upload: Upload, selection: Selection) -> dict:
    """A picture that can't be read loses its own answer, not the others'."""
    try:
        return {"file": upload.name, "objects": predict_picture(upload.read(), selection).objects}
    except PictureError as error:
        return {"file": upload.name, "problem": problem_document(explain(error))}
