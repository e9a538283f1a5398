"""Limits on what an encoded picture may claim, checked before a decoder allocates or computes for it."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from barevision.errors import PictureError

_PNG_SIGNATURE_BYTES = 8
# Encoders write chunks of 8 KiB and more: this many are 800 MB of them. Each one costs a microsecond here.
_MAX_PNG_CHUNKS = 100_000
_PNG_HEADER_BYTES = 13
# Other chunks are dropped: an animation's frames take memory, and libpng logs every damaged text or profile.
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")

# Encoders write about ten scans. Each one goes over all pixels again, however few bytes it has: 99 scans of 50 million
# pixels took five seconds. So the scans may go over so many times the largest picture's pixels.
_MAX_JPEG_SCANS = 100
_JPEG_SCANS_PER_LIMIT = 20
_MAX_JPEG_SEGMENTS = 10_000
#: JPEG's markers of a scan and of the file's end.
SOS, EOI = 0xDA, 0xD9
#: Those of a picture's header, which says how its pixels are encoded; and the progressive ones among them.
FRAMES = (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
PROGRESSIVE_FRAMES = (0xC2, 0xC6, 0xCA, 0xCE)
# Where a frame says how many components it has.
_COMPONENTS = 5
_TEM = 0x01
# 0xFF before 0 is data, before 0xFF filling; restart markers stand within a scan.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")

# A photo's directory has about twenty. libtiff writes a line on stderr for each that it does not know.
_MAX_TIFF_TAGS = 200

# Parts of blocks too: those of an honest GIF's texts and profiles have up to 255 bytes each.
_MAX_GIF_BLOCKS = 1_000_000
_GIF_HEADER_BYTES = 13
_GIF_CONTROL = 0xF9

_WEBP_HEADER_BYTES, _WEBP_CHUNK_HEADER_BYTES = 12, 8
_MAX_WEBP_CHUNKS = 100_000


def still_png(data: bytes) -> tuple[bytes, bytes]:
    """The PNG file `data` up to its end, with only what makes the picture that every viewer shows; and its EXIF block.

    OpenCV allocates what a chunk's length field says (4 GB at will), and three more pictures for an animation. A file
    that ends behind its last pixels gets the end that the format wants: viewers show it.

    :raises PictureError: a chunk reaches beyond the end of the file, there are too many, or no header is the first one.
    """
    parts, exif, position, has_pixels = [data[:_PNG_SIGNATURE_BYTES]], b"", _PNG_SIGNATURE_BYTES, False
    for number in range(_MAX_PNG_CHUNKS):
        length, kind = struct.unpack_from(">I4s", data, position) if position + 8 <= len(data) else (0, b"")
        end = position + 12 + length
        if end > len(data):
            if kind == b"IDAT" and number > 0:
                # All pixels may be there: the decoder then finds that out.
                parts.append(_png_chunk(kind, data[position + 8 : end - 4]))
            elif not has_pixels:
                raise PictureError(
                    f"the picture is damaged or cut short: chunk {kind!r} at byte {position} is not all there"
                )
            return b"".join([*parts, _png_chunk(b"IEND", b"")]), exif
        if (kind == b"IHDR") != (number == 0) or (number == 0 and length != _PNG_HEADER_BYTES):
            raise PictureError(
                f"the picture is damaged: chunk {kind!r} at byte {position} is out of place or has the wrong length"
            )
        has_pixels |= kind == b"IDAT"
        if kind in _PNG_CHUNKS:
            parts.append(data[position:end])
        elif kind == b"eXIf":
            exif = data[position + 8 : end - 4]
        position = end
        if kind == b"IEND":
            return b"".join(parts), exif
    raise PictureError(f"the picture has more than {_MAX_PNG_CHUNKS} chunks; save it anew")


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def check_jpeg_scans(data: bytes, pixels: int, max_pixels: int) -> None:
    """Raises `PictureError` if the JPEG file `data` of so many `pixels` has so many scans that decoding takes long."""
    allowed = min(_MAX_JPEG_SCANS, _JPEG_SCANS_PER_LIMIT * max_pixels // pixels)
    # The bytes FF DA also occur in a film behind the photo, a thumbnail or a profile, so a file with many of them is
    # walked segment by segment.
    if data.count(b"\xff\xda") <= allowed:
        return
    scans = 0
    for segment in jpeg_segments(data):
        scans += segment.marker == SOS
        if scans > allowed:
            raise PictureError(f"the picture has more than {allowed} progressive scans; save it with fewer")


def has_one_scan(data: bytes) -> bool:
    """Whether all of the JPEG file `data` comes in one scan, so that a decoder needs a few rows in memory at a time."""
    components = None
    for segment in jpeg_segments(data):
        if segment.marker in PROGRESSIVE_FRAMES:
            return False
        if segment.marker in FRAMES and len(segment.content) > _COMPONENTS:
            components = segment.content[_COMPONENTS]
        elif segment.marker == SOS:
            return segment.content[:1] == bytes([components or 0])
    return False


class JpegSegment(NamedTuple):
    """One of a JPEG file: its marker, its content, and where the next one begins, or the scan's pixels do."""

    marker: int
    content: bytes
    end: int


def jpeg_segments(data: bytes) -> Iterator[JpegSegment]:
    """The segments of the JPEG file `data` up to its end mark, which is the last one; the scans' pixels are skipped.

    :raises PictureError: there are too many.
    """
    position = 2
    for _ in range(_MAX_JPEG_SEGMENTS):
        match = _JPEG_MARKER.search(data, position)
        if match is None:
            return
        marker, position = match[1][0], match.end()
        if marker == EOI:
            yield JpegSegment(marker, b"", position)
            return
        if marker != _TEM:
            length = max(2, int.from_bytes(data[position : position + 2], "big"))
            yield JpegSegment(marker, data[position + 2 : position + length], position + length)
            position += length
    raise PictureError(f"the picture has more than {_MAX_JPEG_SEGMENTS} JPEG segments; save it anew")


def still_gif(data: bytes) -> tuple[bytes, tuple[int, int], tuple[int, int, int, int]]:
    """The GIF file `data` without what precedes its first image, but for its palette and how that image is shown.

    Also (width, height) of the picture, and (left, top, right, bottom) of what that image covers. As in browsers, an
    image that sticks out makes the picture larger. Pillow takes minutes for texts of a few megabytes of tiny parts.

    :raises PictureError: there is no image, or too much before it.
    """
    if len(data) < _GIF_HEADER_BYTES:
        raise PictureError("the picture is cut short: it ends within its header")
    width, height, flags = struct.unpack_from("<2HB", data, 6)
    position = _GIF_HEADER_BYTES + (6 << (flags & 7) if flags & 0x80 else 0)
    head, control, extension = data[:position], b"", None
    for _ in range(_MAX_GIF_BLOCKS):
        if extension is not None:
            length = data[position] if position < len(data) else 0
            position += 1 + length
            if length == 0:
                control = data[extension:position] if data[extension + 1] == _GIF_CONTROL else control
                extension = None
            continue
        kind = data[position : position + 1]
        if kind == b"," and position + 10 <= len(data):
            left, top, image_width, image_height = struct.unpack_from("<4H", data, position + 1)
            right, bottom = left + image_width, top + image_height
            size = max(width, right), max(height, bottom)
            return head + control + data[position:], size, (left, top, right, bottom)
        if kind in (b"", b",", b";"):
            raise PictureError("the picture is damaged or cut short: it ends before its first image")
        if data[position : position + 1] == b"!" and position + 1 < len(data):
            extension, position = position, position + 2
        else:
            # What is neither an image nor an extension is skipped, as viewers do.
            position += 1
    raise PictureError(f"the picture has more than {_MAX_GIF_BLOCKS} GIF blocks before its first image; save it anew")


def mended_webp(data: bytes) -> bytes:
    """The WebP file `data` with the length in its first bytes that its chunks have.

    Programs that write files as a stream leave it 0 or the largest number, others forget to count a filling byte:
    nothing of the picture depends on it, but libwebp refuses it.
    """
    if data[4:8] == struct.pack("<I", len(data) - 8):
        return data
    position = _WEBP_HEADER_BYTES
    for _ in range(_MAX_WEBP_CHUNKS):
        if position + _WEBP_CHUNK_HEADER_BYTES > len(data):
            break
        kind, length = struct.unpack_from("<4sI", data, position)
        end = position + _WEBP_CHUNK_HEADER_BYTES + length
        if end > len(data) or not kind.isascii():
            break
        position = end + length % 2
    # The filling byte behind an odd chunk may be missing at the end.
    data += bytes(max(0, position - len(data)))
    return data[:4] + struct.pack("<I", position - 8) + data[8:position]


def check_tiff_directory(data: bytes) -> None:
    """Raises `PictureError` if the first directory of the TIFF file `data` is too long to be looked through."""
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    try:
        (start,) = struct.unpack_from(f"{order}Q", data, 8) if big else struct.unpack_from(f"{order}I", data, 4)
        (tags,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, min(start, len(data)))
    except struct.error:
        raise PictureError("the picture is damaged or cut short: its TIFF directory is not there") from None
    if tags > _MAX_TIFF_TAGS:
        raise PictureError(f"the picture has {tags} TIFF tags, allowed are {_MAX_TIFF_TAGS}")
