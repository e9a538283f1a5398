"""What a network's raw output means: the forms that networks answer in, each as the rows that selection takes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np

Form = Literal["relative", "yolov5", "yolov8", "yolox", "rtdetr", "rtdetr-chosen", "yolov7-chosen", "end-to-end"]
Fit = Literal["stretch", "letterbox", "darknet-letterbox", "yolox"]

# YOLOX's cells in pixels: of published networks, and of those with a fourth level (P6).
_YOLOX_STRIDES = ((8, 16, 32), (8, 16, 32, 64))


@dataclass(frozen=True)
class Head:
    """How to read a network's answer and how images are fitted to its input.

    :ivar form: what the network answers for one image, of N boxes and C classes:
        "relative": (N, 4 + C), centre x, centre y, width, height relative to the input, scores: Darknet's, converted;
        "yolov5": (N, 5 + C), the same box in pixels of the input, objectness, class probabilities: YOLOv5, YOLOv7,
        and YOLOX decoded;
        "yolov8": (4 + C, N), the same box in pixels of the input, scores: YOLOv8, YOLO11 and their kin;
        "yolox": (N, 5 + C), as "yolov5", but a box's centre is relative to its cell, in cells, and its width and height
        are logarithms of cells;
        "rtdetr": as "relative", chosen already;
        "rtdetr-chosen": (N, 6), a box as in "relative", score, class number: chosen already;
        "yolov7-chosen": (N, 7), number of the image, left, top, right, bottom in pixels of the input, class number,
        score: chosen already, and N is another for each image;
        "end-to-end": (N, 6), left, top, right, bottom in pixels of the input, score, class number: chosen already.
    :ivar fit: "stretch" to the input's size, or "letterbox": scaled and framed in grey, as Ultralytics does it;
        "darknet-letterbox" as Darknet does it, with another grey and another rounding; "yolox": scaled into the upper
        left corner, the rest grey, BGR, 0 to 255.
    """

    form: Form = "relative"
    fit: Fit = "stretch"

    @property
    def is_chosen(self) -> bool:
        """Whether the network leaves side by side only what belongs there, so that nothing is to be suppressed."""
        return self.form in ("rtdetr", "rtdetr-chosen", "yolov7-chosen", "end-to-end")


def to_rows(output: np.ndarray, head: Head, input_size: tuple[int, int], classes: int) -> np.ndarray:
    """The network's answer for one image as float32 (N, 4 + classes): boxes relative to the input, scores.

    :param output: float32, shaped as `head.form` says.
    :param input_size: (height, width) of the network's input in pixels.
    """
    height, width = input_size
    sides = np.array([width, height, width, height], np.float32)
    match head.form:
        case "relative" | "rtdetr":
            return output
        case "yolov5":
            return np.concatenate([output[:, :4] / sides, output[:, 5:] * output[:, 4:5]], axis=1)
        case "yolov8":
            # Left in the network's order, in which they are searched fastest.
            return np.concatenate([output[:4] / sides[:, None], output[4:]]).T
        case "yolox":
            corners, strides = np.split(cells(input_size, yolox_strides(len(output), input_size)), [2], axis=1)
            centres = (output[:, :2] + corners) * strides
            # The exponential of what a damaged network answers may be infinite, which no box is.
            with np.errstate(over="ignore"):
                lengths = np.exp(output[:, 2:4]) * strides
            boxes = np.concatenate([centres, lengths], axis=1) / sides
            return np.concatenate([boxes, output[:, 5:] * output[:, 4:5]], axis=1)
        case "rtdetr-chosen":
            return _chosen_rows(output[:, :4], output[:, 4], output[:, 5], classes)
        case "yolov7-chosen":
            return _chosen_rows(_from_corners(output[:, 1:5]) / sides, output[:, 6], output[:, 5], classes)
        case "end-to-end":
            return _chosen_rows(_from_corners(output[:, :4]) / sides, output[:, 4], output[:, 5], classes)


def _from_corners(boxes: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) as centre x, centre y, width, height instead of left, top, right, bottom."""
    start, end = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([(start + end) / 2, end - start], axis=1)


def _chosen_rows(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Rows (N, 4 + classes) whose only score is that of the class that the network chose.

    A class number that the model doesn't have is no detection. NaN compares false to everything: a row with it stays,
    so that the network is found out.
    """
    is_known = ~((labels < 0) | (labels >= classes))
    rows = np.zeros((is_known.sum(), 4 + classes), np.float32)
    rows[:, :4] = boxes[is_known]
    chosen = np.nan_to_num(labels[is_known]).astype(np.int64)
    rows[np.arange(len(rows)), 4 + chosen] = scores[is_known]
    return rows


def yolox_strides(boxes: int, input_size: tuple[int, int]) -> tuple[int, ...] | None:
    """The sizes in pixels of YOLOX's cells where it answers `boxes` boxes for `input_size`; None if none fit."""
    return next((strides for strides in _YOLOX_STRIDES if len(cells(input_size, strides)) == boxes), None)


@functools.lru_cache(maxsize=8)
def cells(input_size: tuple[int, int], strides: tuple[int, ...]) -> np.ndarray:
    """The column, the row and the stride of each cell of an input of `input_size`, float32 (N, 3), row by row.

    Source: decode_outputs in YOLOX's models/yolo_head.py.
    """
    grids = []
    for stride in strides:
        rows, columns = np.indices([side // stride for side in input_size], np.float32).reshape(2, -1)
        grids.append(np.column_stack([columns, rows, np.full_like(rows, stride)]))
    return np.concatenate(grids)
