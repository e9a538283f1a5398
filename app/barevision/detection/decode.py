"""Encoded pictures to arrays, after a look at the header, and back."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image, ImageOps

from barevision.detection.errors import ImageError, ImageTooLargeError, SideTooLongError
from barevision.detection.precautions import check_jpeg_scans, still_png

# `max_pixels` is the limit, not Pillow's own.
Image.MAX_IMAGE_PIXELS = None
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
#: The most pixels that a side may have in a file of this kind.
LARGEST_SIDES = {".jpg": 65_500, ".png": 1_000_000}
_TIFF_TILE_WIDTH, _TIFF_TILE_LENGTH = 322, 323


def decode_image(data: bytes, max_pixels: int, max_side: int | None = None) -> np.ndarray:
    """The picture in `data`, turned as its EXIF orientation says: uint8 (height, width, 3), BGR.

    Of an animation, the picture that a viewer without animations shows.

    :raises ImageTooLargeError: the header announces more than `max_pixels`; nothing was decoded.
    :raises SideTooLongError: the same of one side and `max_side`.
    :raises ImageError: no picture, a damaged one, or a format outside `FORMATS`.
    """
    if not data:
        raise ImageError("the body is empty, expected an encoded picture")
    with _header(data) as header:
        _check_pixels("the picture has", header.size, max_pixels)
        if max_side and max(header.size) > max_side:
            width, height = header.size
            raise SideTooLongError(f"the picture has {width}x{height} pixels, allowed are {max_side} a side")
        if header.format == "AVIF":
            return _decode_avif(header)
        if header.format == "TIFF":
            tile = header.tag_v2.get(_TIFF_TILE_WIDTH, 1), header.tag_v2.get(_TIFF_TILE_LENGTH, 1)
            _check_pixels("the picture's tiles have", tile, max_pixels)
    if header.format == "PNG":
        data = still_png(data)
    elif header.format in ("JPEG", "MPO"):
        check_jpeg_scans(data)
    return _decode(data)


def encode_image(image: np.ndarray, extension: str) -> bytes:
    """`image`, uint8 (height, width, 3) BGR, as a file of the kind that `extension` ('.jpg', '.png') names.

    :raises ValueError: a side is longer than `LARGEST_SIDES` allows.
    """
    height, width = image.shape[:2]
    if max(height, width) > LARGEST_SIDES[extension]:
        raise ValueError(f"a {extension} picture has {LARGEST_SIDES[extension]} pixels a side, not {width}x{height}")
    _, data = cv2.imencode(extension, image)
    return data.tobytes()


def _header(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:
        # Pillow's parsers raise whatever their struct and index operations do on damaged headers.
        allowed = ", ".join(FORMATS)
        raise ImageError(f"the body is no picture in one of these formats: {allowed}") from error


def _check_pixels(what: str, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageTooLargeError(f"{what} {width}x{height} = {width * height} pixels, allowed are {max_pixels}")


def _decode(data: bytes) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"the picture can't be decoded: {error.err}") from error
    if image is None:
        raise ImageError("the picture can't be decoded: it is damaged, cut short or of an unsupported kind")
    return image


def _decode_avif(picture: Image.Image) -> np.ndarray:
    """The turned picture, by Pillow's decoder, which takes half of the memory that OpenCV's takes.

    The frame inside may be larger than the header says: up to 2**28 pixels, where OpenCV's decoder has no limit.
    """
    try:
        picture = picture if picture.mode == "RGB" else picture.convert("RGB")
        ImageOps.exif_transpose(picture, in_place=True)
        pixels = np.asarray(picture)
    except Exception as error:
        # As with headers.
        raise ImageError(f"the picture can't be decoded: {error}") from error
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
