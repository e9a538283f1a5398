"""A picture whose right answer is known: what a model must say before anybody trusts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from barevision.errors import ModelError, WrongAnswerError
from barevision.objects import Detection, differences, parse_detections


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

    def check(self, answer: list[Detection]) -> str:
        """Compares `answer`, given for the golden image, with the right one, and says in a sentence that it is right.

        :raises WrongAnswerError: with what is missing and what is unexpected, a line each.
        """
        lines = differences(self.expected, answer)
        if lines:
            raise WrongAnswerError("the golden image's answer is wrong:\n  " + "\n  ".join(lines))
        return f"the golden image's {len(self.expected)} boxes were found"
