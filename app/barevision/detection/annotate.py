"""Detections drawn onto a picture."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def annotate(image: np.ndarray, predictions: Iterable[dict]) -> np.ndarray:
    """A copy of `image`, uint8 (height, width, 3) BGR, with boxes and labels.

    :param predictions: objects as `/predict` answers them: `boxes` [x, y, width, height], `color`, `label`,
        `confidence`.
    """
    picture = image.copy()
    thickness = max(2, round(max(image.shape[:2]) / 400))
    # The least confident first, so that the surest labels lie on top.
    for prediction in reversed(list(predictions)):
        x, y, width, height = prediction["boxes"]
        color = [int(value) for value in prediction["color"]]
        cv2.rectangle(picture, (x, y), (x + width, y + height), color, thickness)
        text = f"{prediction['label']} {prediction['confidence']:.2f}"
        _draw_label(picture, text, (x - thickness // 2, y), color, thickness)
    return picture


def _draw_label(picture: np.ndarray, text: str, corner: tuple[int, int], color: list[int], thickness: int) -> None:
    """A filled tag with `text` above `corner`, moved inside the picture where it would stick out."""
    scale, stroke, margin = thickness / 3.5, max(1, thickness // 2), 2 * thickness
    (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, scale, stroke)
    tag_width, tag_height = text_width + 2 * margin, text_height + baseline + margin
    left = min(max(corner[0], 0), max(picture.shape[1] - tag_width, 0))
    top = min(max(corner[1] - tag_height, 0), max(picture.shape[0] - tag_height, 0))
    cv2.rectangle(picture, (left, top), (left + tag_width, top + tag_height), color, cv2.FILLED)
    origin = (left + margin, top + tag_height - baseline)
    cv2.putText(picture, text, origin, _FONT, scale, _readable_on(color), stroke, cv2.LINE_AA)


def _readable_on(color: list[int]) -> tuple[int, int, int]:
    """Black or white, whichever stands out from the BGR `color` (luma of ITU-R BT.601)."""
    blue, green, red = color
    return (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else (255, 255, 255)
