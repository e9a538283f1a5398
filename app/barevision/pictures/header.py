"""What an encoded picture says about itself, read without decoding it.

JPEG, PNG and what precedes a GIF's first image are read here: Pillow takes minutes for a few megabytes of the tiny
segments that they may consist of. The other formats are left to it.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image

from barevision.errors import PictureError
from barevision.pictures.avif import check_avif_items
from barevision.pictures.cut_jpegs import with_end_mark
from barevision.pictures.limits import check_tiff_directory, jpeg_segments, mended_webp, still_gif, still_png
from barevision.pictures.tiff_planes import tiff_planes
from barevision.pictures.unsupported import RAW_PHOTO, what_it_is

# Callers pass their own limit, `max_pixels`; Pillow's would warn or refuse first.
Image.MAX_IMAGE_PIXELS = None
# Pillow warns of each damaged EXIF tag on stderr: a 20 MB picture would write 13 MB of log.
warnings.filterwarnings("ignore", module="PIL")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
_PILLOW_FORMATS = ("WEBP", "BMP", "TIFF", "AVIF")

# TIFF's tags, and their values.
_ORIENTATION, _BITS, _SAMPLE_FORMAT, _EXTRA_SAMPLES, _SAMPLES = 274, 258, 339, 338, 277
_TILE_WIDTH, _TILE_LENGTH, _COLOUR_SPACE, _PLANES, _COMPRESSION = 322, 323, 262, 284, 259
_SUBFILE_TYPE, _SUBFILES, _DNG_VERSION = 254, 330, 50706
_UNSIGNED, _ASSOCIATED_ALPHA, _REDUCED_COPY = 1, 1, 1
_BLACK_IS_ZERO, _RGB, _YCBCR, _SEPARATE, _UNCOMPRESSED = 1, 2, 6, 2, 1
# PNG's kinds of pixels.
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_BMP_RUN_LENGTHS = (1, 2)
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
    :ivar pixel_bytes: how many bytes a pixel has in memory before it is made 8 bits of blue, green and red.
    :ivar tile: (width, height) of what the decoder allocates beside the picture.
    :ivar covered: (left, top, right, bottom) of what the picture's first image covers; None if all.
    :ivar by_pillow: whether Pillow decodes it. OpenCV is faster, but its decoders of the rarer kinds answer other
        pictures than viewers show, without an error, or refuse what viewers show.
    :ivar run_lengths: the picture's pixels are run lengths that Pillow reads in Python.
    :ivar planes: the picture's colours, a grey picture each, if they have to be decoded one by one.
    :ivar premultiplied: colours were multiplied by their alpha.
    """

    format: str
    size: tuple[int, int]
    orientation: int
    data: bytes
    pixel_bytes: int = 4
    tile: tuple[int, int] = (1, 1)
    covered: tuple[int, int, int, int] | None = None
    by_pillow: bool = False
    run_lengths: bool = False
    planes: Sequence[bytes] = ()
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
        if len(data) < 26:
            raise PictureError("the picture is cut short: it ends within its header")
        width, height, bits, kind = struct.unpack_from(">2I2B", data, 16)
        pixel_bytes = bits // 8 * _PNG_CHANNELS.get(kind, 4)
        return Header("PNG", _checked(width, height), _orientation(exif), data, pixel_bytes)
    if data.startswith((b"GIF87a", b"GIF89a")):
        data, size, covered = still_gif(data)
        return Header("GIF", _checked(*size), 1, data, covered=covered, by_pillow=True)
    if sentence := what_it_is(data):
        raise PictureError(f"this is {sentence}")
    return _by_pillow(data)


def _jpeg(data: bytes) -> Header:
    exif = b""
    for marker, content, _ in jpeg_segments(data):
        if marker == _APP1 and content.startswith(b"Exif\0\0") and not exif:
            exif = content
        if marker in _JPEG_FRAMES:
            if len(content) < 5:
                break
            height, width = struct.unpack_from(">2H", content, 1)
            return Header("JPEG", _checked(width, height), _orientation(exif), with_end_mark(data))
    raise PictureError("the picture can't be decoded: it is damaged or cut short, its JPEG header has no size")


def _by_pillow(data: bytes) -> Header:
    if data[4:8] == b"ftyp":
        # Of a sequence, decoders then show the still picture in it.
        data = data[:8] + b"avif" + data[12:]
        check_avif_items(data)
    elif data.startswith((b"II", b"MM")):
        check_tiff_directory(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        data = mended_webp(data)
    try:
        with Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS) as picture:
            orientation = _orientation(picture.info.get("exif", b""))
            header = Header(picture.format, picture.size, orientation, data, by_pillow=picture.format != "WEBP")
            if picture.format == "BMP":
                return replace(header, run_lengths=picture.info["compression"] in _BMP_RUN_LENGTHS)
            return _tiff(picture, header) if picture.format == "TIFF" else header
    except PictureError:
        raise
    except Exception as error:
        # Pillow's parsers raise whatever their struct and index operations do on damaged headers.
        for beginning, name in ((b"BM", "BMP"), (b"II", "TIFF"), (b"MM", "TIFF"), (b"RIFF", "WEBP")):
            if data.startswith(beginning):
                raise PictureError(
                    f"the picture is damaged, or a {name} of a kind that is not supported; save it as JPEG or PNG"
                ) from error
        allowed = ", ".join(FORMATS)
        raise PictureError(f"this is no picture in one of these formats: {allowed}") from error


def _tiff(picture: Image.Image, header: Header) -> Header:
    tags = picture.tag_v2
    bits, formats = tags.get(_BITS, (1,)), tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))
    is_preview = tags.get(_SUBFILE_TYPE, 0) & _REDUCED_COPY and _SUBFILES in tags
    if _DNG_VERSION in tags or is_preview or header.data[8:10] == b"CR":
        # What comes first in it is a small copy, in whose pixels the boxes would be.
        raise PictureError(f"this is {RAW_PHOTO}")
    if max(bits) > 16 or set(formats) != {_UNSIGNED}:
        raise PictureError("the TIFF picture has signed, float or 32-bit samples; save it with 8 or 16 bits each")
    samples, colour_space = tags.get(_SAMPLES, 1), tags.get(_COLOUR_SPACE)
    # Pillow keeps the upper 8 bits of a colour's 16, which is black for what a 12-bit camera stored.
    is_deep = set(bits) == {16} and samples in (1, 3, 4) and colour_space in (_BLACK_IS_ZERO, _RGB)
    has_planes = samples > 1 and tags.get(_PLANES) == _SEPARATE
    if has_planes and max(bits) > 8 and not is_deep:
        raise PictureError("the TIFF picture has planes of 16 bits that are not red, green and blue; save it as RGB")
    # Pillow can't read these.
    is_plain_ycbcr = colour_space == _YCBCR and tags.get(_COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED
    return replace(
        header,
        pixel_bytes=max(4, samples * max(bits) // 8),
        # Both decoders turn a TIFF themselves, so it must not be turned again.
        orientation=1,
        tile=(int(tags.get(_TILE_WIDTH, 1)), int(tags.get(_TILE_LENGTH, 1))),
        by_pillow=not (is_plain_ycbcr or is_deep),
        planes=tiff_planes(header.data, tags) if is_deep and has_planes else (),
        premultiplied=_ASSOCIATED_ALPHA in tags.get(_EXTRA_SAMPLES, ()),
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
