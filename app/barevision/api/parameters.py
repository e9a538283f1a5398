"""What a client may ask for beside its picture, in the words of ``/predict``."""

from __future__ import annotations

from typing import Annotated, TypeVar

from flask import request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from werkzeug.exceptions import UnprocessableEntity

from barevision.api.errors import quoted
from barevision.detection.selection import Selection
from barevision.detector import Detector

Parsed = TypeVar("Parsed", bound=BaseModel)


def _labels(text: str) -> str:
    if not all(label.strip() for label in text.split(",")):
        raise ValueError("expected labels with commas between them")
    return text


class SelectionParameters(BaseModel):
    """Which detections to answer. Any other parameter is an error."""

    model_config = ConfigDict(extra="forbid")

    confidence: float | None = Field(None, ge=0, le=1, description="Detections above it are answered")
    nms: float | None = Field(
        None, ge=0, le=1, description="Of two boxes that overlap more, the less confident one goes"
    )
    classes: Annotated[str, AfterValidator(_labels)] | None = Field(
        None, max_length=10_000, description="Labels of the model with commas between them: only these are answered"
    )
    limit: int | None = Field(None, ge=1, le=100_000, description="At most so many, the most confident ones")
    per_class_nms: bool = Field(False, description="Only boxes of one class take each other out")

    def selection(self, detector: Detector) -> Selection:
        """What to select of the answers of `detector`, with its settings where nothing is given.

        :raises UnknownLabelError: its model has no such class.
        """
        labels = None if self.classes is None else [label.strip() for label in self.classes.split(",")]
        return detector.selection(self.confidence, self.nms, labels, self.limit, self.per_class_nms)


def validated(model: type[Parsed], values: object, what: str = "parameters") -> Parsed:
    """`values` as a `model`, or 422 with each wrong one and all that are allowed, which are called `what`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        details = []
        for item in error.errors():
            place = ".".join(map(str, item["loc"])) or "the request"
            details.append(f"{place}={quoted(item['input'])}: {item['msg']}")
        raise UnprocessableEntity(f"{'; '.join(details)} ({what} are {', '.join(model.model_fields)})") from None


def query_parameters(model: type[Parsed]) -> Parsed:
    """The request's query as a `model`, or 422."""
    for name, values in request.args.lists():
        if len(values) > 1:
            raise UnprocessableEntity(f"{name} is given {len(values)} times, expected once")
    return validated(model, request.args.to_dict())
