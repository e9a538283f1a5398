"""A picture as a network's input."""

from __future__ import annotations

import cv2
import numpy as np


def to_blob(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`image`, uint8 (height, width, 3) BGR, stretched to `size` (height, width).

    The blob is float32 (1, 3, height, width), RGB, 0 to 1.
    Stretched, not letterboxed, as the tutorial does: thresholds that somebody tuned against it stay right.
    """
    height, width = size
    return cv2.dnn.blobFromImage(image, 1 / 255, (width, height), swapRB=True, crop=False)
