"""What a network's raw output means: the forms of detection heads, and each as the rows that selection takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Form = Literal["relative", "yolov5", "yolov8", "end-to-end"]
Fit = Literal["stretch", "letterbox"]


@dataclass(frozen=True)
class Head:
    """How to read a network's answer and how pictures are fitted to its input.

    :ivar form: what the network answers for one picture, of N boxes and C classes:
        "relative": (N, 4 + C), centre x, centre y, width, height relative to the input, scores: Darknet's, converted;
        "yolov5": (N, 5 + C), the same box in pixels of the input, objectness, class probabilities;
        "yolov8": (4 + C, N), the same box in pixels of the input, scores: YOLOv8, YOLO11 and their kin;
        "end-to-end": (N, 6), left, top, right, bottom in pixels of the input, score, class number: chosen already.
    :ivar fit: "stretch" to the input's size, or "letterbox": scaled and framed in grey.
    """

    form: Form = "relative"
    fit: Fit = "stretch"


def to_rows(raw: np.ndarray, head: Head, input_size: tuple[int, int], classes: int) -> np.ndarray:
    """The network's answer for one picture as float32 (N, 4 + classes): boxes relative to the input, scores.

    :param raw: float32, shaped as `head.form` says.
    :param input_size: (height, width) of the network's input in pixels.
    """
    if head.form == "relative":
        return raw
    height, width = input_size
    sides = np.array([width, height, width, height], np.float32)
    if head.form == "yolov5":
        return np.concatenate([raw[:, :4] / sides, raw[:, 5:] * raw[:, 4:5]], axis=1)
    if head.form == "yolov8":
        return np.concatenate([raw[:4].T / sides, raw[4:].T], axis=1)
    return _chosen_rows(raw, sides, classes)


def _chosen_rows(raw: np.ndarray, sides: np.ndarray, classes: int) -> np.ndarray:
    """Rows whose only score is that of the class that the network chose; none for a class that there isn't."""
    # Not a number compares false: such a row has to stay, to be found out.
    raw = raw[~((raw[:, 5] < 0) | (raw[:, 5] >= classes))]
    start, end = raw[:, :2], raw[:, 2:4]
    rows = np.zeros((len(raw), 4 + classes), np.float32)
    rows[:, :4] = np.concatenate([(start + end) / 2, end - start], axis=1) / sides
    chosen = np.nan_to_num(raw[:, 5]).astype(np.int64)
    rows[np.arange(len(raw)), 4 + chosen] = raw[:, 4]
    return rows
