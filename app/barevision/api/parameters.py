"""What a client may ask for beside its picture, in the words of ``/predict``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, TypeVar

from flask import request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator
from werkzeug.exceptions import UnprocessableEntity

from barevision.api.errors import quoted
from barevision.detection.selection import Selection
from barevision.detector import Detector
from barevision.errors import shortened

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

    @field_validator("confidence", "nms", "limit", mode="before")
    @classmethod
    def _is_no_truth_value(cls, value: object) -> object:
        # pydantic would take JSON's true for 1.
        if isinstance(value, bool):
            raise ValueError("expected a number")
        return value

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
            place = shortened(".".join(map(str, item["loc"]))) or "the request"
            # What pydantic calls the input of a missing field is all that stands around it.
            value = "" if item["type"] == "missing" else f"={quoted(item['input'])}"
            details.append(f"{place}{value}: {item['msg'].removeprefix('Value error, ')}")
        raise UnprocessableEntity(f"{'; '.join(details)} ({what} are {', '.join(model.model_fields)})") from None


def read_parameters(model: type[Parsed], fields: Iterable[tuple[str, object]] = ()) -> Parsed:
    """The request's query, and `fields` of its body, as a `model`.

    :raises HTTPException: 422 if one is unknown, wrong, or given more than once.
    """
    pairs = [*request.args.items(multi=True), *fields]
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            raise UnprocessableEntity(f"{shortened(name)} is given {count} times in address and body, expected once")
    return validated(model, dict(pairs))
