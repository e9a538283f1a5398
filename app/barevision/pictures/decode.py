"""Encoded pictures to arrays, after a look at the header, and back."""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from barevision.errors import PictureError, PictureTooLargeError, SideTooLongError
from barevision.pictures.avif import check_avif_frames
from barevision.pictures.cut_jpegs import check_jpeg_is_whole
from barevision.pictures.header import Header, read_header
from barevision.pictures.limits import check_jpeg_scans, has_one_scan

# OpenCV would log every damaged picture; the client is told instead.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

#: The most pixels that a side may have in a file of this kind.
LARGEST_SIDES = {".jpg": 65_500, ".png": 1_000_000}

_IN_COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION,
    4: cv2.IMREAD_REDUCED_COLOR_4 | cv2.IMREAD_IGNORE_ORIENTATION,
    2: cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_IGNORE_ORIENTATION,
}
# Pixels of 8 bits of red, green, blue and alpha have so many bytes; wider ones count as more pixels.
_PIXEL_BYTES = 4
# Pillow reads run lengths in Python, a tenth of a microsecond a pixel, and a microsecond each.
_RUN_LENGTHS_PER_LIMIT = 1 / 8
# A TIFF's tag and its value.
_COLOUR_SPACE, _WHITE_IS_ZERO = 262, 0
# Depths that cameras have, of which the rest of 16 bits is then empty.
_DEPTHS = (8, 10, 12, 14, 16)
_STRIP_PIXELS = 2**20
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda image: image,
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: cv2.transpose,
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.flip(cv2.transpose(image), -1),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
_SIDEWAYS = (5, 6, 7, 8)


def decode_image(data: bytes, max_pixels: int) -> np.ndarray:
    """The picture in `data`, turned as its EXIF orientation says: uint8 (height, width, 3), BGR.

    Of an animation, the picture that a viewer without animations shows. What is transparent shows white behind it.
    16 bits become 8: by the smallest of 8, 10, 12, 14 and 16 bits that holds the picture's largest value, so that what
    a 12-bit camera wrote is not black.

    :raises PictureTooLargeError: the header announces more than `max_pixels`; nothing was decoded.
    :raises PictureError: no picture, a damaged one, or a format outside `header.FORMATS`.
    """
    return decode_reduced(data, max_pixels)[0]


def decode_reduced(
    data: bytes,
    max_pixels: int,
    max_side: int | None = None,
    least: tuple[int, int] | None = None,
    hold_pixels: Callable[[int], None] = lambda pixels: None,
) -> tuple[np.ndarray, tuple[int, int]]:
    """As `decode_image`, and the picture's full size (height, width); a JPEG may be smaller than that.

    :param max_side: the most pixels that a side may have.
    :param least: a JPEG is decoded at a half, a quarter or an eighth of its size where that leaves this many pixels
        (height, width); in full if None.
    :param hold_pixels: is told how many pixels are in memory from now on, at most `max_pixels`: before the picture is
        decoded, what that takes, and then what the image has. What it raises is raised.
    """
    header = read_header(data)
    _check_size(header, len(data), max_pixels, max_side)
    width, height = header.size
    is_sideways = header.orientation in _SIDEWAYS
    if header.format == "JPEG":
        comes_at_once = has_one_scan(header.data)
        if not comes_at_once:
            check_jpeg_scans(header.data, width * height, max_pixels)
        factor = 1
        if least is not None:
            least_height, least_width = least[::-1] if is_sideways else least
            factors = (f for f in _REDUCED if width // f >= least_width and height // f >= least_height)
            factor = next(factors, 1)
        flags = _REDUCED.get(factor, _IN_COLOUR)
        reduced_width, reduced_height = -(-width // factor), -(-height // factor)
        # What comes in several scans is in memory in full before it is reduced.
        hold_pixels(reduced_width * reduced_height if comes_at_once else width * height)
        image = _imdecode(header.data, flags)
        _check_decoded(image, (reduced_width, reduced_height))
        check_jpeg_is_whole(data, image, height, lambda other: _imdecode(other, flags))
        size = (width, height) if is_sideways else (height, width)
    else:
        tile_width, tile_height = header.tile
        hold_pixels(int(max(width * height, tile_width * tile_height) * max(1, header.pixel_bytes / _PIXEL_BYTES)))
        if header.format == "AVIF":
            check_avif_frames(header.data, width * height, max_pixels)
        image = _decode_by_pillow(header) if header.by_pillow else _decode_by_opencv(header)
        size = None
    image = _TURNS[header.orientation](image)
    hold_pixels(image.shape[0] * image.shape[1])
    return image, size or image.shape[:2]


def encode_image(image: np.ndarray, extension: str) -> bytes:
    """`image`, uint8 (height, width, 3) BGR, as a file of the kind that `extension` ('.jpg', '.png') names.

    :raises SideTooLongError: a side is longer than `LARGEST_SIDES` allows.
    """
    height, width = image.shape[:2]
    if max(height, width) > LARGEST_SIDES[extension]:
        allowed = LARGEST_SIDES[extension]
        raise SideTooLongError(f"{width}x{height} pixels, but a {extension} picture may have {allowed} a side")
    _, data = cv2.imencode(extension, image)
    return data.tobytes()


def _check_size(header: Header, length: int, max_pixels: int, max_side: int | None) -> None:
    """Raises `PictureTooLargeError` for a picture of `length` bytes that would take too much memory or time."""
    for what, (width, height) in (("picture has", header.size), ("picture's tiles have", header.tile)):
        pixels = width * height
        if pixels > max_pixels:
            raise PictureTooLargeError(f"the {what} {width}x{height} = {pixels} pixels, allowed are {max_pixels}")
        if pixels * header.pixel_bytes > max_pixels * _PIXEL_BYTES:
            raise PictureTooLargeError(
                f"the {what} {width}x{height} = {pixels} pixels of {header.pixel_bytes} bytes each, allowed are "
                f"{max_pixels * _PIXEL_BYTES} bytes; save it with 8 bits for each colour"
            )
    width, height = header.size
    if header.run_lengths and max(width * height, length) > max_pixels * _RUN_LENGTHS_PER_LIMIT:
        raise PictureTooLargeError(
            f"the picture has {width}x{height} pixels as run lengths, allowed are "
            f"{max_pixels * _RUN_LENGTHS_PER_LIMIT:.0f} pixels and bytes; save it without compression"
        )
    if max_side and max(width, height) > max_side:
        raise SideTooLongError(f"the picture has {width}x{height} pixels, allowed are {max_side} a side")


def _decode_by_opencv(header: Header) -> np.ndarray:
    """What OpenCV makes of all channels and bits, as 8 bits of blue, green and red."""
    images = [_imdecode(data, cv2.IMREAD_UNCHANGED) for data in header.planes or [header.data]]
    for image in images:
        _check_decoded(image, header.size)
    # Planes are red, green, blue and alpha.
    image = cv2.merge([*images[2::-1], *images[3:]]) if header.planes else images[0]
    if image.dtype not in (np.uint8, np.uint16):
        raise PictureError(f"the picture has {image.dtype} samples; save it with 8 or 16 bits each")
    if image.dtype == np.uint16:
        image = _to_8_bits(image)
    if image.ndim == 3 and image.shape[2] not in (3, 4):
        raise PictureError(f"the picture has {image.shape[2]} channels; save it in grey or in colour")
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return image if image.shape[2] == 3 else _on_white(image, header.premultiplied)


def _decode_by_pillow(header: Header) -> np.ndarray:
    """As `_decode_by_opencv`, by Pillow. Of AVIF it takes half of OpenCV's memory, and stops at 2**28 pixels."""
    try:
        with Image.open(io.BytesIO(header.data), formats=[header.format]) as picture:
            if picture.size != header.size:
                raise PictureError(f"the picture is damaged: its header says {header.size} and {picture.size}")
            picture.load()
            pixels = _pillow_pixels(picture)
    except PictureError:
        raise
    except Exception as error:
        # Pillow raises any kind of error on damaged data.
        raise PictureError(f"the picture can't be decoded: {error}") from error
    if pixels.dtype == np.uint16:
        return cv2.cvtColor(_to_8_bits(pixels), cv2.COLOR_GRAY2BGR)
    if pixels.shape[2] == 4:
        # Programs that know no alpha leave 0 in a BMP's fourth byte.
        opaque = header.format == "BMP" and not pixels[..., 3].any()
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB) if opaque else _on_white(pixels, premultiplied=False)
    image = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    if header.covered is not None:
        left, top, right, bottom = header.covered
        # What no image covers is transparent.
        image[:top] = image[bottom:] = image[:, :left] = image[:, right:] = 255
    return image


def _pillow_pixels(picture: Image.Image) -> np.ndarray:
    """The loaded `picture`: uint8 (height, width, 3 or 4), RGB or RGBA, or uint16 (height, width)."""
    if picture.mode.startswith("I;16"):
        wide = np.asarray(picture).astype(np.uint16)
        # Pillow turns 0 for white around in a TIFF of 8 bits, not of 16.
        return ~wide if picture.format == "TIFF" and picture.tag_v2.get(_COLOUR_SPACE) == _WHITE_IS_ZERO else wide
    if picture.mode in ("I", "F"):
        raise PictureError(f"the picture has samples of Pillow's kind {picture.mode}; save it with 8 or 16 bits each")
    if picture.mode == "La":
        picture = picture.convert("LA")
    has_alpha = picture.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in picture.info
    mode = "RGBA" if has_alpha else "RGB"
    return np.asarray(picture if picture.mode == mode else picture.convert(mode))


def _imdecode(data: bytes, flags: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise PictureError(f"the picture can't be decoded: {error.err}") from error
    if image is None:
        raise PictureError("the picture can't be decoded: it is damaged, cut short or of an unsupported kind")
    return image


def _check_decoded(image: np.ndarray, size: tuple[int, int]) -> None:
    """Raises `PictureError` if `image` does not have the (width, height) `size`, which boxes rest on."""
    height, width = image.shape[:2]
    if (width, height) != size:
        raise PictureError(f"the picture is damaged: it has {width}x{height} pixels where its header says {size}")


def _to_8_bits(image: np.ndarray) -> np.ndarray:
    """uint16 (height, width) or (height, width, channels) as uint8; alpha, the fourth channel, by its full depth."""
    colours = image[..., :3] if image.ndim == 3 else image
    largest = int(colours.max())
    depth = next(bits for bits in _DEPTHS if largest < 1 << bits)
    scaled = cv2.convertScaleAbs(image, alpha=255 / ((1 << depth) - 1))
    if image.ndim == 3 and image.shape[2] == 4:
        scaled[..., 3] = image[..., 3] >> 8
    return scaled


def _on_white(image: np.ndarray, premultiplied: bool) -> np.ndarray:
    """uint8 (height, width, 4), alpha last, laid on white: uint8 (height, width, 3)."""
    laid = cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)
    height, width = laid.shape[:2]
    # In strips: the products take four times the picture's memory, and most pictures are opaque almost everywhere.
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip, alpha = laid[top : top + rows], cv2.extractChannel(image[top : top + rows], 3)
        if cv2.minMaxLoc(alpha)[0] < 255:
            strip[:] = _strip_on_white(strip, cv2.merge([alpha] * 3), premultiplied)
    return laid


def _strip_on_white(colour: np.ndarray, alpha: np.ndarray, premultiplied: bool) -> np.ndarray:
    """As `_on_white`, of uint8 (height, width, 3) each; as wider numbers up to 255."""
    wide = colour.astype(np.uint16)
    if not premultiplied:
        # A 255th, rounded; numpy's own division takes longer.
        wide *= alpha
        wide += 128
        wide += wide >> 8
        wide >>= 8
    wide += 255 - alpha
    return np.minimum(wide, 255, out=wide)
