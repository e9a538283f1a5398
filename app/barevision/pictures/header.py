"""What an encoded picture says about itself, read without decoding it.

JPEG, PNG and GIF are read here: Pillow takes minutes for a few megabytes of the tiny segments that their headers may
consist of. The other formats are left to it.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass, replace

from PIL import Image

from barevision.errors import PictureError
from barevision.pictures.avif import check_avif_items
from barevision.pictures.limits import check_jpeg_scans, check_tiff_directory, jpeg_segments, still_png

# Callers pass their own limit, `max_pixels`; Pillow's would warn or refuse first.
Image.MAX_IMAGE_PIXELS = None
# Pillow warns of each damaged EXIF tag on stderr: a 20 MB picture would write 13 MB of log.
warnings.filterwarnings("ignore", module="PIL")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
_PILLOW_FORMATS = ("WEBP", "BMP", "TIFF", "AVIF")

_ORIENTATION, _BITS, _SAMPLE_FORMAT, _EXTRA_SAMPLES = 274, 258, 339, 338
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_UNSIGNED, _ASSOCIATED_ALPHA = 1, 1
# Markers of frame headers; C4, C8 and CC (DHT, JPG, DAC) lie in this range but start no frame.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_APP1 = 0xE1


@dataclass(frozen=True)
class Header:
    """What is to be decoded.

    :ivar format: one of `FORMATS`.
    :ivar size: (width, height) in pixels, as stored.
    :ivar orientation: EXIF's number, 1 to 8, of how the stored picture is to be turned.
    :ivar data: the encoded picture, without the chunks that are no part of it.
    :ivar tile: (width, height) of what the decoder allocates beside the picture.
    :ivar premultiplied: colours were multiplied by their alpha.
    """

    format: str
    size: tuple[int, int]
    orientation: int
    data: bytes
    tile: tuple[int, int] = (1, 1)
    premultiplied: bool = False


def read_header(data: bytes) -> Header:
    """The header of the encoded picture `data`.

    :raises PictureError: no picture, a damaged one, or a format outside `FORMATS`.
    """
    if not data:
        raise PictureError("the picture is empty, not a byte was sent")
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        data, exif = still_png(data)
        return Header("PNG", _checked(*struct.unpack_from(">2I", data, 16)), _orientation(exif), data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        if len(data) < 13:
            raise PictureError("the picture is cut short: it ends within its header")
        return Header("GIF", _checked(*struct.unpack_from("<2H", data, 6)), 1, data)
    return _by_pillow(data)


def _jpeg(data: bytes) -> Header:
    exif = b""
    for marker, content in jpeg_segments(data):
        if marker == _APP1 and content.startswith(b"Exif\0\0") and not exif:
            exif = content
        if marker in _JPEG_FRAMES:
            if len(content) < 5:
                break
            height, width = struct.unpack_from(">2H", content, 1)
            check_jpeg_scans(data)
            return Header("JPEG", _checked(width, height), _orientation(exif), data)
    raise PictureError("the picture can't be decoded: it is damaged or cut short, its JPEG header has no size")


def _by_pillow(data: bytes) -> Header:
    if data[4:8] == b"ftyp":
        # Of a sequence, decoders then show the still picture in it.
        data = data[:8] + b"avif" + data[12:]
        check_avif_items(data)
    elif data.startswith((b"II", b"MM")):
        check_tiff_directory(data)
    try:
        with Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS) as picture:
            header = Header(picture.format, picture.size, _orientation(picture.info.get("exif", b"")), data)
            return _tiff(picture, header) if picture.format == "TIFF" else header
    except PictureError:
        raise
    except Exception as error:
        # Pillow's parsers raise whatever their struct and index operations do on damaged headers.
        allowed = ", ".join(FORMATS)
        raise PictureError(f"this is no picture in one of these formats: {allowed}") from error


def _tiff(picture: Image.Image, header: Header) -> Header:
    tags = picture.tag_v2
    bits, formats = tags.get(_BITS, (1,)), tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))
    if max(bits) > 16 or set(formats) != {_UNSIGNED}:
        raise PictureError("the TIFF picture has signed, float or 32-bit samples; save it with 8 or 16 bits each")
    return replace(
        header,
        # OpenCV turns a TIFF even with IMREAD_IGNORE_ORIENTATION, so it must not be turned again.
        orientation=1,
        tile=(int(tags.get(_TILE_WIDTH, 1)), int(tags.get(_TILE_LENGTH, 1))),
        # OpenCV reads 8-bit TIFFs by libtiff's RGBA interface, which multiplies colours by alpha.
        premultiplied=max(bits) <= 8 or _ASSOCIATED_ALPHA in tags.get(_EXTRA_SAMPLES, ()),
    )


def _checked(width: int, height: int) -> tuple[int, int]:
    if not (width and height):
        raise PictureError(f"the picture is damaged: by its header it has {width}x{height} pixels")
    return width, height


def _orientation(exif: bytes) -> int:
    """EXIF's orientation; 1, upright, where `exif` is damaged or doesn't say."""
    if not exif:
        return 1
    tags = Image.Exif()
    try:
        tags.load(exif)
        orientation = tags.get(_ORIENTATION, 1)
    except Exception:
        # Pillow raises any kind of error on damaged data. Viewers show a picture whose EXIF is damaged.
        return 1
    return orientation if orientation in range(1, 9) else 1
