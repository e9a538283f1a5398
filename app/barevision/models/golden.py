"""A picture whose right answer is known: what a model must say before anybody trusts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from barevision.detection.selection import Selection
from barevision.engines import Precision
from barevision.errors import ModelError, WrongAnswerError
from barevision.objects import MARGIN, Detection, differences, is_found, parse_detections


def asked_confidence(precision: Precision) -> float:
    """Down to which confidence a golden image's answer is compared: the tutorial's, and a margin below it.

    :param precision: with f32 there is no margin.
    """
    return Selection.confidence if precision == "f32" else Selection.confidence - MARGIN


@dataclass(frozen=True)
class Golden:
    """An encoded picture, and what a model must detect on it at the tutorial's thresholds."""

    picture: bytes
    expected: list[Detection]

    @classmethod
    def in_folder(cls, folder: Path) -> Golden | None:
        """The pair golden.jpg and golden.json in `folder`, or None without them.

        :raises ModelError: only one of them is there, or golden.json is not a list of detections.
        """
        image, expected = folder / "golden.jpg", folder / "golden.json"
        there = [path.name for path in (image, expected) if path.is_file()]
        if not there:
            return None
        if len(there) == 1:
            raise ModelError(f"{folder} has {there[0]} alone, expected golden.jpg and golden.json, or neither")
        return cls.read(image, expected)

    @classmethod
    def read(cls, picture: Path, expected: Path) -> Golden:
        """The picture in the file `picture`, and the answer in the file `expected`.

        :raises ModelError: `expected` is not a list of detections.
        """
        try:
            return cls(picture.read_bytes(), parse_detections(expected.read_text("utf-8-sig")))
        except ValueError as error:
            raise ModelError(
                f"{expected} is not the list that 'barevision predict golden.jpg --json' prints: {error}"
            ) from None

    def check(self, answer: list[Detection], precision: Precision) -> str:
        """Compares `answer`, given for the golden image, with the right one, and says in a sentence that it is right.

        :param answer: what was detected with a confidence above `asked_confidence`.
        :param precision: what the network computed with. With f32 boxes and confidences have to be the right ones, with
            fewer bits it is enough that each box is found.
        :raises WrongAnswerError: with what is missing and what is unexpected, a line each.
        """
        if precision == "f32":
            lines = differences(self.expected, answer)
        else:
            lines = [f"missing: {detection}" for detection in self.expected if not is_found(detection, answer)]
            sure = [detection for detection in answer if detection.confidence > Selection.confidence + MARGIN]
            lines += [f"unexpected: {detection}" for detection in sure if not is_found(detection, self.expected)]
        if lines:
            raise WrongAnswerError("the golden image's answer is wrong:\n  " + "\n  ".join(lines))
        return f"the golden image's {len(self.expected)} boxes were found"
