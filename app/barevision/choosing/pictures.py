"""The pictures on which answers are compared, where the user gives none: drawn ones that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import cv2
import numpy as np

from barevision.models.prepare import PreparedModel
from barevision.pictures.decode import decode_image, encode_image

# A stop sign and a traffic light on a street, and six road signs: drawn, and found by networks for real ones.
_SCENES = ("coco/golden.jpg", "roadsigns/golden.jpg")
# (width, height): smaller and larger than networks' inputs, upright, and a strip.
_SIZES = ((320, 240), (1280, 960), (480, 640), (900, 300))


def drawn_pictures(model: PreparedModel) -> list[bytes]:
    """Encoded pictures, the same each time: the golden image of `model`, and scenes in several sizes and mirrored."""
    pictures = [model.golden.picture] if model.golden else []
    folder = Path(str(resources.files("barevision") / "models"))
    for number, scene in enumerate(_SCENES):
        data = (folder / scene).read_bytes()
        if data not in pictures:
            pictures.append(data)
        image = decode_image(data, max_pixels=10**7)
        for size in _SIZES[number :: len(_SCENES)]:
            pictures.append(encode_image(cv2.resize(image, size, interpolation=cv2.INTER_AREA), ".png"))
        pictures.append(encode_image(np.ascontiguousarray(image[:, ::-1]), ".png"))
    return pictures
