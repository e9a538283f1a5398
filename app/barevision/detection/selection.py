"""From a network's rows to the detections that are worth an answer."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import cv2
import numpy as np

from barevision.objects import Detection

# Non-maximum suppression compares every box with every other: this many candidates take milliseconds, and a real
# picture has far fewer above any useful confidence.
_MAX_CANDIDATES = 3000
# A damaged network may answer infinities, which no integer holds.
_LARGEST_PIXEL = 2**30


@dataclass(frozen=True)
class Selection:
    """Which of a network's rows are worth an answer. The defaults are the tutorial's.

    :ivar confidence: scores above it are kept, 0 to 1.
    :ivar nms: of two boxes with more than this intersection over union the less confident one goes, 0 to 1.
    :ivar per_class_nms: only boxes of the same class take each other out.
    :ivar classes: the labels to keep; all if None.
    :ivar limit: keep at most so many, the most confident ones; all if None.
    """

    confidence: float = 0.5
    nms: float = 0.3
    per_class_nms: bool = False
    classes: frozenset[str] | None = None
    limit: int | None = None


@functools.lru_cache(maxsize=8)
def class_colors(classes: int) -> list[tuple[int, int, int]]:
    """One colour a class, three numbers from 0 to 254: the tutorial's, drawn with its seed and type of number."""
    random = np.random.RandomState(42)
    # The type decides the sequence: without it, NumPy draws eight bytes for each number, and others come out.
    return [tuple(color) for color in random.randint(0, 255, size=(classes, 3), dtype="uint8").tolist()]


def select_detections(
    rows: np.ndarray, image_size: tuple[int, int], labels: list[str], selection: Selection
) -> list[Detection]:
    """The tutorial's selection: each row's best class, above the confidence, then non-maximum suppression.

    A row counts for its best class alone: one whose best class is not wanted does not answer its second-best.

    :param rows: float32 (rows, 4 + classes): centre x, centre y, width and height relative to the image, scores.
    :param image_size: (height, width) in pixels.
    :param labels: one a class.
    :returns: most confident first.
    """
    rows = rows[(rows[:, 4:] > selection.confidence).any(axis=1)]
    classes = rows[:, 4:].argmax(axis=1)
    if selection.classes is not None:
        wanted = [number for number, label in enumerate(labels) if label in selection.classes]
        is_wanted = np.isin(classes, wanted)
        rows, classes = rows[is_wanted], classes[is_wanted]
    confidences = rows[np.arange(len(rows)), 4 + classes]
    if len(rows) > _MAX_CANDIDATES:
        most = np.argsort(-confidences, kind="stable")[:_MAX_CANDIDATES]
        rows, classes, confidences = rows[most], classes[most], confidences[most]
    boxes = _pixel_boxes(rows[:, :4], image_size)

    if selection.per_class_nms:
        thresholds = (selection.confidence, selection.nms)
        best = cv2.dnn.NMSBoxesBatched(boxes, confidences, classes.astype(np.int32), *thresholds)
    else:
        best = cv2.dnn.NMSBoxes(boxes, confidences, selection.confidence, selection.nms)
    best = np.asarray(best, int).ravel()
    best = best[np.argsort(-confidences[best], kind="stable")][: selection.limit]

    colors = class_colors(len(labels))
    return [
        Detection(
            tuple(boxes[index].tolist()),
            colors[classes[index]],
            labels[classes[index]],
            round(float(confidences[index]), 6),
        )
        for index in best
    ]


def _pixel_boxes(relative: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """(n, 4) centre boxes relative to the image as int (n, 4) corner boxes, cut to pixels as in the tutorial."""
    height, width = image_size
    pixels = relative * np.array([width, height, width, height], np.float32)
    pixels = np.where(np.isnan(pixels), 0, pixels)
    centre_size = np.clip(pixels, -_LARGEST_PIXEL, _LARGEST_PIXEL).astype(np.int64)
    corner = (centre_size[:, :2] - centre_size[:, 2:] / 2).astype(np.int64)
    return np.concatenate([corner, centre_size[:, 2:]], axis=1)


def clip(detection: Detection, image_size: tuple[int, int]) -> Detection:
    """`detection` with a box that ends where the image of `image_size` (height, width) does."""
    x, y, width, height = detection.box
    left, right = (min(max(side, 0), image_size[1]) for side in (x, x + width))
    top, bottom = (min(max(side, 0), image_size[0]) for side in (y, y + height))
    return replace(detection, box=(left, top, right - left, bottom - top))
