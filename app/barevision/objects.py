"""What is detected on a picture, from the network's rows to the JSON of ``POST /predict`` and back in the client."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

#: How far a right answer may be off: boxes at each side in pixels, and confidences. It is more than engines and
#: processors differ.
PIXEL_TOLERANCE = 2
CONFIDENCE_TOLERANCE = 0.02
#: Where a network computes with fewer bits, boxes that are this near to the threshold may come or go.
MARGIN = 0.05
_LEAST_OVERLAP = 0.5

# Far outside of every picture: a service's or a file's number that is larger is no coordinate.
_Pixels = Annotated[int, Field(ge=-(2**30), le=2**30)]
_Part = Annotated[int, Field(ge=0, le=255)]


@dataclass(frozen=True)
class Detection:
    """An object on a picture."""

    box: Annotated[
        tuple[_Pixels, _Pixels, _Pixels, _Pixels],
        Field(alias="boxes", description="x and y of the upper left corner, width and height, in pixels"),
    ]
    color: Annotated[tuple[_Part, _Part, _Part], Field(description="The label's colour, as the tutorial draws it")]
    label: str
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

    def to_json(self) -> dict:
        """The object in the list that `POST /predict` answers. The tutorial calls the one box "boxes"."""
        return {
            "boxes": list(self.box),
            "color": list(self.color),
            "label": self.label,
            "confidence": self.confidence,
        }

    def __str__(self) -> str:
        return f"{self.label} {self.confidence:.3f} at {list(self.box)} in {list(self.color)}"


_LIST = TypeAdapter(list[Detection])


def parse_detections(text: bytes | str) -> list[Detection]:
    """The detections in the JSON list that `POST /predict` answers.

    :raises ValueError: `text` is not such a list; the message names the first thing that is wrong.
    """
    try:
        return _LIST.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{f'{place}: ' if place else ''}{first['msg']}") from None


def differences(
    expected: Iterable[Detection],
    answer: Iterable[Detection],
    pixels: float = PIXEL_TOLERANCE,
    confidence: float = CONFIDENCE_TOLERANCE,
) -> list[str]:
    """What is missing, extra or off in `answer`, one line each; empty if the two agree. The order does not matter.

    Labels and colours have to be the same.

    :param pixels: how far x, y, width and height may be off, each.
    :param confidence: how far confidences may be off.
    """

    def agree(one: Detection, other: Detection) -> bool:
        return (
            (one.label, one.color) == (other.label, other.color)
            and abs(one.confidence - other.confidence) <= confidence
            and all(abs(a - b) <= pixels for a, b in zip(one.box, other.box, strict=True))
        )

    left, missing = list(answer), []
    for detection in expected:
        match = next((other for other in left if agree(detection, other)), None)
        if match is None:
            missing.append(detection)
        else:
            left.remove(match)
    return [f"missing: {detection}" for detection in missing] + [f"unexpected: {detection}" for detection in left]


def is_found(wanted: Detection, answer: Iterable[Detection]) -> bool:
    """Whether `answer` has the label of `wanted` with a box that has at least half of their union in common."""
    return any(
        detection.label == wanted.label and _overlap(detection.box, wanted.box) >= _LEAST_OVERLAP
        for detection in answer
    )


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """The intersection of two boxes (x, y, width, height) over their union, 0 to 1."""
    (x, y, width, height), (other_x, other_y, other_width, other_height) = one, other
    shared_width = max(0, min(x + width, other_x + other_width) - max(x, other_x))
    shared_height = max(0, min(y + height, other_y + other_height) - max(y, other_y))
    shared = shared_width * shared_height
    return shared / ((width * height + other_width * other_height - shared) or 1)
