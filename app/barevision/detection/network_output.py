"""What a network's raw output means: the forms that networks answer in, each as the rows that selection takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Form = Literal["relative", "yolov5", "yolov8", "end-to-end"]
Fit = Literal["stretch", "letterbox", "darknet-letterbox"]


@dataclass(frozen=True)
class Head:
    """How to read a network's answer and how images are fitted to its input.

    :ivar form: what the network answers for one image, of N boxes and C classes:
        "relative": (N, 4 + C), centre x, centre y, width, height relative to the input, scores: Darknet's, converted;
        "yolov5": (N, 5 + C), the same box in pixels of the input, objectness, class probabilities;
        "yolov8": (4 + C, N), the same box in pixels of the input, scores: YOLOv8, YOLO11 and their kin;
        "end-to-end": (N, 6), left, top, right, bottom in pixels of the input, score, class number: chosen already.
    :ivar fit: "stretch" to the input's size, or "letterbox": scaled and framed in grey, as Ultralytics does it;
        "darknet-letterbox" as Darknet does it, with another grey and another rounding.
    """

    form: Form = "relative"
    fit: Fit = "stretch"


def to_rows(output: np.ndarray, head: Head, input_size: tuple[int, int], classes: int) -> np.ndarray:
    """The network's answer for one image as float32 (N, 4 + classes): boxes relative to the input, scores.

    :param output: float32, shaped as `head.form` says.
    :param input_size: (height, width) of the network's input in pixels.
    """
    height, width = input_size
    sides = np.array([width, height, width, height], np.float32)
    match head.form:
        case "relative":
            return output
        case "yolov5":
            return np.concatenate([output[:, :4] / sides, output[:, 5:] * output[:, 4:5]], axis=1)
        case "yolov8":
            return np.concatenate([output[:4].T / sides, output[4:].T], axis=1)
        case "end-to-end":
            # A class number that the model doesn't have is no detection. NaN compares false to everything: a row with
            # it stays, so that the network is found out.
            output = output[~((output[:, 5] < 0) | (output[:, 5] >= classes))]
            start, end = output[:, :2], output[:, 2:4]
            rows = np.zeros((len(output), 4 + classes), np.float32)
            rows[:, :4] = np.concatenate([(start + end) / 2, end - start], axis=1) / sides
            # The only score of a row is that of the class that the network chose.
            chosen = np.nan_to_num(output[:, 5]).astype(np.int64)
            rows[np.arange(len(output)), 4 + chosen] = output[:, 4]
            return rows
