"""An image as a network's input, and the way back from the input's coordinates to the image's."""

from __future__ import annotations

import cv2
import numpy as np

from barevision.detection.network_output import Fit

_GREY = (114, 114, 114)


def to_blob(image: np.ndarray, size: tuple[int, int], fit: Fit) -> np.ndarray:
    """`image`, uint8 (height, width, 3) BGR, as a network's input of `size` (height, width).

    Darknet's networks are given a stretched image, as the tutorial does: thresholds that somebody tuned against it stay
    right. Those that say letter_box=1 are given a letterboxed one: scaled to fit, and framed in grey (letterbox_image
    in Darknet's image.c). So are Ultralytics' (LetterBox in their data/augment.py), with another grey and rounding, and
    YOLOX's with the grey at the right and at the bottom only (preproc in its data/data_augment.py).

    :returns: float32 (1, 3, height, width), RGB, 0 to 1; for YOLOX BGR, 0 to 255.
    """
    height, width = size
    if fit == "darknet-letterbox":
        # Darknet's grey lies between two of the 256 that a picture can have.
        blob = np.full((1, 3, height, width), 0.5, np.float32)
        inner_height, inner_width = _darknet_letterbox(image.shape[:2], size)
        top, left = (height - inner_height) // 2, (width - inner_width) // 2
        inner = cv2.resize(image, (inner_width, inner_height), interpolation=cv2.INTER_LINEAR)
        _write_rgb(inner, blob[0, :, top : top + inner_height, left : left + inner_width])
        return blob
    if fit == "stretch":
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        _, (inner_height, inner_width), (top, left) = _letterbox(image.shape[:2], size, fit)
        if image.shape[:2] != (inner_height, inner_width):
            image = cv2.resize(image, (inner_width, inner_height), interpolation=cv2.INTER_LINEAR)
        bottom, right = height - inner_height - top, width - inner_width - left
        image = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=_GREY)
    if fit == "yolox":
        return cv2.dnn.blobFromImage(image)
    blob = np.empty((1, 3, height, width), np.float32)
    _write_rgb(image, blob[0])
    return blob


def _write_rgb(image: np.ndarray, planes: np.ndarray) -> None:
    """Writes `image`, BGR from 0 to 255, to the `planes` red, green and blue, from 0 to 1.

    These are the numbers of OpenCV's blobFromImage to the last bit, in a third of its time.
    """
    for channel, plane in zip(reversed(cv2.split(image)), planes, strict=True):
        np.multiply(channel, np.float32(1 / 255), out=plane)


def to_image_rows(rows: np.ndarray, image_size: tuple[int, int], size: tuple[int, int], fit: Fit) -> np.ndarray:
    """`rows` (N, 4 + classes), whose boxes are relative to the input, with boxes relative to the image.

    :param image_size: (height, width) of the image in pixels; so is `size` of the network's input.
    """
    if fit == "stretch":
        return rows
    if fit == "darknet-letterbox":
        inner_height, inner_width = _darknet_letterbox(image_size, size)
        # Darknet moves boxes by half of what it filled up, to the half pixel (correct_yolo_boxes in its yolo_layer.c).
        top, left = (size[0] - inner_height) / 2, (size[1] - inner_width) / 2
    else:
        scale, _, (top, left) = _letterbox(image_size, size, fit)
        inner_height, inner_width = image_size[0] * scale, image_size[1] * scale
    sides = np.array([size[1], size[0]] * 2, np.float32)
    offset = np.array([left, top, 0, 0], np.float32)
    inner = np.array([inner_width, inner_height] * 2, np.float32)
    # In the order in memory that they have.
    moved = rows.copy(order="K")
    moved[:, :4] = (rows[:, :4] * sides - offset) / inner
    return moved


def _letterbox(
    image_size: tuple[int, int], size: tuple[int, int], fit: Fit
) -> tuple[float, tuple[int, int], tuple[int, int]]:
    """The scale from the image to the input, the scaled (height, width), and its (top, left) corner in the input."""
    scale = min(size[0] / image_size[0], size[1] / image_size[1])
    # A line of one pixel would vanish if it were scaled down.
    if fit == "yolox":
        return scale, tuple(max(1, int(side * scale)) for side in image_size), (0, 0)
    inner = tuple(max(1, round(side * scale)) for side in image_size)
    # Of an odd number of pixels to fill, the larger half goes to the right and to the bottom.
    top, left = (round((whole - part) / 2 - 0.1) for whole, part in zip(size, inner, strict=True))
    return scale, inner, (top, left)


def _darknet_letterbox(image_size: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) to which Darknet scales an image of `image_size` for an input of `size`."""
    height, width = image_size
    # A line of one pixel would vanish if it were scaled down.
    if size[1] * height < size[0] * width:
        return max(1, height * size[1] // width), size[1]
    return size[0], max(1, width * size[0] // height)
