"""A network's raw rows to the detections that are worth an answer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

# Non-maximum suppression compares every box with every other: this many candidates take milliseconds, and a real
# picture has far fewer above any useful confidence.
_MAX_CANDIDATES = 3000


@dataclass(frozen=True)
class Detection:
    """One object: `box` is (x, y, width, height) in pixels of the turned picture and may stick out of it."""

    class_id: int
    confidence: float
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Selection:
    """Which of a network's rows are worth an answer. The defaults are the tutorial's.

    :ivar confidence: scores above it are kept, 0 to 1.
    :ivar nms: of two boxes with more than this intersection over union the less confident one goes, 0 to 1.
    :ivar per_class_nms: only boxes of the same class take each other out.
    :ivar classes: keep only these, by number; all if None.
    :ivar limit: keep at most so many, the most confident ones; all if None.
    """

    confidence: float = 0.5
    nms: float = 0.3
    per_class_nms: bool = False
    classes: frozenset[int] | None = None
    limit: int | None = None


def class_colors(classes: int) -> list[list[int]]:
    """One colour a class, three numbers from 0 to 254: the tutorial's, drawn with its seed."""
    random = np.random.RandomState(42)
    return random.randint(0, 255, size=(classes, 3)).tolist()


def select_detections(rows: np.ndarray, image_size: tuple[int, int], selection: Selection) -> list[Detection]:
    """The tutorial's selection: each row's best class, above the confidence, then NMS.

    A row counts for its best class alone: one whose best class is not asked for is no second-best answer.

    :param rows: float32 (rows, 4 + classes): centre x, centre y, width and height relative to the image, scores.
    :param image_size: (height, width) in pixels.
    :returns: most confident first.
    """
    scores = rows[:, 4:]
    class_ids = scores.argmax(axis=1)
    confidences = scores[np.arange(len(rows)), class_ids]
    wanted = confidences > selection.confidence
    if selection.classes is not None:
        wanted &= np.isin(class_ids, list(selection.classes))
    kept = np.flatnonzero(wanted)
    if len(kept) > _MAX_CANDIDATES:
        kept = kept[np.argsort(-confidences[kept], kind="stable")[:_MAX_CANDIDATES]]
    boxes = _pixel_boxes(rows[kept, :4], image_size)
    best = _suppress(boxes, confidences[kept], class_ids[kept], selection)[: selection.limit]
    return [
        Detection(
            int(class_ids[kept[index]]),
            float(confidences[kept[index]]),
            tuple(boxes[index].tolist()),
        )
        for index in best
    ]


def clip(detection: Detection, image_size: tuple[int, int]) -> Detection:
    """`detection` with a box that ends where the picture of `image_size` (height, width) does."""
    x, y, width, height = detection.box
    left, right = (min(max(side, 0), image_size[1]) for side in (x, x + width))
    top, bottom = (min(max(side, 0), image_size[0]) for side in (y, y + height))
    return replace(detection, box=(left, top, right - left, bottom - top))


def _suppress(boxes: np.ndarray, confidences: np.ndarray, class_ids: np.ndarray, selection: Selection) -> np.ndarray:
    """The numbers of the boxes that non-maximum suppression leaves, most confident first."""
    thresholds = selection.confidence, selection.nms
    if selection.per_class_nms:
        best = cv2.dnn.NMSBoxesBatched(boxes, confidences, class_ids.astype(np.int32), *thresholds)
    else:
        best = cv2.dnn.NMSBoxes(boxes, confidences, *thresholds)
    best = np.asarray(best, int).ravel()
    return best[np.argsort(-confidences[best], kind="stable")]


def _pixel_boxes(relative: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """(n, 4) centre boxes relative to the image as int (n, 4) corner boxes, cut to pixels as in the tutorial."""
    height, width = image_size
    # A damaged network may answer infinities, which no integer holds.
    limit = 2**30
    pixels = np.nan_to_num(relative * np.array([width, height, width, height], np.float32), posinf=limit, neginf=-limit)
    centre_size = np.clip(pixels, -limit, limit).astype(np.int64)
    corner = (centre_size[:, :2] - centre_size[:, 2:] / 2).astype(np.int64)
    return np.concatenate([corner, centre_size[:, 2:]], axis=1)
