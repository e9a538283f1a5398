"""A picture whose right answer is known: what a model must say before anybody trusts it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from barevision.answers import is_answer
from barevision.errors import ModelError

#: Boxes may differ by this many pixels at each side, confidences by this much: more than engines and processors differ.
PIXEL_TOLERANCE = 2
CONFIDENCE_TOLERANCE = 0.02


@dataclass(frozen=True)
class Golden:
    """An encoded picture and the list that `/predict` must answer for it."""

    image: bytes
    expected: list[dict]

    @classmethod
    def in_folder(cls, folder: Path) -> Golden | None:
        """The pair golden.jpg and golden.json in `folder`, or None without them.

        :raises ModelError: only one of them is there, or golden.json is no answer.
        """
        image, expected = folder / "golden.jpg", folder / "golden.json"
        there = [path.name for path in (image, expected) if path.is_file()]
        if len(there) == 1:
            raise ModelError(f"{folder} has {there[0]} alone, expected golden.jpg and golden.json, or neither")
        return cls(image.read_bytes(), _read_answer(expected)) if there else None


def _read_answer(path: Path) -> list[dict]:
    try:
        answer = json.loads(path.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is no JSON: {error}") from None
    if not is_answer(answer):
        raise ModelError(f"{path} is not the list that 'barevision predict golden.jpg --json' prints")
    return answer


def differences(
    expected: list[dict],
    found: list[dict],
    pixels: float = PIXEL_TOLERANCE,
    confidence: float = CONFIDENCE_TOLERANCE,
) -> list[str]:
    """What is missing, extra or off in `found`, one line each; empty if the two lists agree.

    :param expected: objects as `/predict` answers them, in any order; so is `found`.
    :param pixels: how far x, y, width and height may be off, each.
    :param confidence: how far confidences may be off.
    """
    left = list(found)
    lines = []
    for wanted in expected:
        match = next((item for item in left if _agree(wanted, item, pixels, confidence)), None)
        if match is None:
            lines.append(f"missing: {_describe(wanted)}")
        else:
            left.remove(match)
    return lines + [f"unexpected: {_describe(item)}" for item in left]


def _agree(wanted: dict, item: dict, pixels: float, confidence: float) -> bool:
    return (
        wanted["label"] == item["label"]
        and abs(wanted["confidence"] - item["confidence"]) <= confidence
        and all(abs(a - b) <= pixels for a, b in zip(wanted["boxes"], item["boxes"], strict=True))
    )


def _describe(item: dict) -> str:
    return f"{item['label']} {item['confidence']:.3f} at {item['boxes']}"
