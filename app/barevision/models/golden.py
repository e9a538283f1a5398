"""A picture whose right answer is known: what a model must say before anybody trusts it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

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
        """The pair golden.jpg and golden.json in `folder`, or None without them."""
        image, expected = folder / "golden.jpg", folder / "golden.json"
        if not image.is_file() or not expected.is_file():
            return None
        return cls(image.read_bytes(), json.loads(expected.read_text("utf-8")))


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
