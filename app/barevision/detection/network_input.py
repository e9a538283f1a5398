"""A picture as a network's input, and what the network says of it in terms of the picture."""

from __future__ import annotations

import cv2
import numpy as np

from barevision.detection.network_output import Fit

_GREY = (114, 114, 114)


def to_blob(image: np.ndarray, size: tuple[int, int], fit: Fit = "stretch") -> np.ndarray:
    """`image`, uint8 (height, width, 3) BGR, as a network's input of `size` (height, width).

    The blob is float32 (1, 3, height, width), RGB, 0 to 1.
    Darknet's networks are given a stretched picture, as the tutorial does: thresholds that somebody tuned against it
    stay right. Ultralytics' are given a letterboxed one, as its predictor does.
    """
    height, width = size
    if fit == "letterbox":
        image = _letterboxed(image, size)
    return cv2.dnn.blobFromImage(image, 1 / 255, (width, height), swapRB=True, crop=False)


def of_picture(rows: np.ndarray, image_size: tuple[int, int], size: tuple[int, int], fit: Fit) -> np.ndarray:
    """`rows` (N, 4 + classes) with boxes relative to the input of `size` as rows relative to the picture.

    :param image_size: (height, width) of the picture in pixels; so is `size` of the network's input.
    """
    if fit == "stretch":
        return rows
    gain, _, (top, left) = _frame(image_size, size)
    inner = np.array([image_size[1] * gain, image_size[0] * gain] * 2, np.float32)
    sides = np.array([size[1], size[0]] * 2, np.float32)
    offset = np.array([left, top, 0, 0], np.float32)
    return np.concatenate([(rows[:, :4] * sides - offset) / inner, rows[:, 4:]], axis=1)


def _letterboxed(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture scaled to fit into `size` and framed in grey. Source: LetterBox in Ultralytics' data/augment.py."""
    _, (height, width), (top, left) = _frame(image.shape[:2], size)
    if image.shape[:2] != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    bottom, right = size[0] - height - top, size[1] - width - left
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=_GREY)


def _frame(image_size: tuple[int, int], size: tuple[int, int]) -> tuple[float, tuple[int, int], tuple[int, int]]:
    """The scale from the picture to the input, the scaled (height, width), and its (top, left) corner in the input."""
    gain = min(size[0] / image_size[0], size[1] / image_size[1])
    # A line of one pixel would vanish.
    scaled = tuple(max(1, round(side * gain)) for side in image_size)
    # Half a pixel goes to the right and to the bottom.
    top, left = (round((whole - part) / 2 - 0.1) for whole, part in zip(size, scaled, strict=True))
    return gain, scaled, (top, left)
