"""Encoded pictures to arrays, after a look at the header, and back."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

# Pillow reads headers here and never decodes; `max_pixels` is the limit, not Pillow's own.
Image.MAX_IMAGE_PIXELS = None
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")


class ImageError(ValueError):
    """Bytes that are no picture that can be decoded."""


class ImageTooLargeError(ImageError):
    """A picture with more pixels than allowed."""


def decode_image(data: bytes, max_pixels: int) -> np.ndarray:
    """The picture in `data`, turned as its EXIF orientation says: uint8 (height, width, 3), BGR.

    :raises ImageTooLargeError: the header announces more than `max_pixels`; nothing was decoded.
    :raises ImageError: no picture, a damaged one, or a format outside `FORMATS`.
    """
    width, height = _size_in_header(data)
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"the picture has {width}x{height} = {width * height} pixels, allowed are {max_pixels}"
        )
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"the picture can't be decoded: {error.err}") from error
    if image is None:
        raise ImageError("the picture can't be decoded: it is damaged, cut short or of an unsupported kind")
    return image


def encode_image(image: np.ndarray, extension: str) -> bytes:
    """`image`, uint8 (height, width, 3) BGR, as a file of the kind that `extension` ('.jpg', '.png') names."""
    encoded, data = cv2.imencode(extension, image)
    if not encoded:
        raise ValueError(f"OpenCV can't write {extension} pictures")
    return data.tobytes()


def _size_in_header(data: bytes) -> tuple[int, int]:
    """The (width, height) that the header announces, without decoding."""
    if not data:
        raise ImageError("the body is empty, expected an encoded picture")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as header:
            return header.size
    except Exception as error:
        # Pillow's parsers raise whatever their struct and index operations do on damaged headers.
        allowed = ", ".join(FORMATS)
        raise ImageError(f"the body is no picture in one of these formats: {allowed}") from error
