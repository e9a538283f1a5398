"""Limits on what an encoded picture may claim, checked before a decoder allocates or computes for it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from barevision.errors import PictureError

_PNG_SIGNATURE_BYTES = 8
# Encoders write chunks of 8 KiB and more: this many are 800 MB of them. Each one costs a microsecond here.
_MAX_PNG_CHUNKS = 100_000
_PNG_HEADER_BYTES = 13
# Other chunks are dropped: an animation's frames take memory, and libpng logs every damaged text or profile.
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")

# Encoders write about ten scans. Each one goes over all pixels again, however few bytes it has.
_MAX_JPEG_SCANS = 100
_MAX_JPEG_SEGMENTS = 10_000
_SOS, _EOI, _TEM = 0xDA, 0xD9, 0x01
# 0xFF before 0 is data, before 0xFF filling; restart markers stand within a scan.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")

# A photo's directory has about twenty.
_MAX_TIFF_TAGS = 1000


def still_png(data: bytes) -> tuple[bytes, bytes]:
    """The PNG file `data` up to its end, with only what makes the picture that every viewer shows; and its EXIF block.

    OpenCV allocates what a chunk's length field says (4 GB at will), and three more pictures for an animation.

    :raises PictureError: a chunk reaches beyond the end of the file, there are too many, or no header is the first one.
    """
    parts, exif, position = [data[:_PNG_SIGNATURE_BYTES]], b"", _PNG_SIGNATURE_BYTES
    for number in range(_MAX_PNG_CHUNKS):
        if position + 12 > len(data):
            raise PictureError("the picture is cut short: it ends before its last chunk")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise PictureError(
                f"the picture is damaged or cut short: chunk {kind!r} at byte {position} is not all there"
            )
        if (kind == b"IHDR") != (number == 0) or (number == 0 and length != _PNG_HEADER_BYTES):
            raise PictureError(
                f"the picture is damaged: chunk {kind!r} at byte {position} is out of place or has the wrong length"
            )
        if kind in _PNG_CHUNKS:
            parts.append(data[position:end])
        elif kind == b"eXIf":
            exif = data[position + 8 : end - 4]
        position = end
        if kind == b"IEND":
            return b"".join(parts), exif
    raise PictureError(f"the picture has more than {_MAX_PNG_CHUNKS} chunks; save it anew")


def check_jpeg_scans(data: bytes) -> None:
    """Raises `PictureError` if the JPEG file `data` has so many scans that decoding takes minutes."""
    # The bytes FF DA also occur in a film behind the photo, a thumbnail or a profile, so a file with many of them is
    # walked segment by segment.
    if data.count(b"\xff\xda") <= _MAX_JPEG_SCANS:
        return
    scans = 0
    for marker, _ in jpeg_segments(data):
        scans += marker == _SOS
        if scans > _MAX_JPEG_SCANS:
            raise PictureError(f"the picture has more than {_MAX_JPEG_SCANS} progressive scans; save it with fewer")


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment of the JPEG file `data`, up to its end; the scans' pixels are skipped.

    :raises PictureError: there are too many.
    """
    position = 2
    for _ in range(_MAX_JPEG_SEGMENTS):
        match = _JPEG_MARKER.search(data, position)
        marker = match[1][0] if match else _EOI
        if marker == _EOI:
            return
        position = match.end()
        if marker != _TEM:
            length = max(2, int.from_bytes(data[position : position + 2], "big"))
            yield marker, data[position + 2 : position + length]
            position += length
    raise PictureError(f"the picture has more than {_MAX_JPEG_SEGMENTS} JPEG segments; save it anew")


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
