"""What decoders believe without looking: checked here, on the encoded bytes, before they allocate or compute for it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from barevision.errors import PictureError

_PNG_SIGNATURE_BYTES = 8
# Encoders write chunks of 8 KiB and more: this many are 800 MB of them. Each one costs a microsecond here.
_MAX_PNG_CHUNKS = 100_000
_PNG_HEADER_BYTES = 13
# What else there may be makes no picture: an animation's frames, which take memory, and texts and profiles, whose
# damages libpng reports one by one in the log.
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
            raise PictureError(f"the picture is damaged: chunk {kind!r} at byte {position} is not what it must be")
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
    # Usually settled here. More may stand in what is no scan: a film behind the photo, a thumbnail, a profile.
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
        found = _JPEG_MARKER.search(data, position)
        marker = found[1][0] if found else _EOI
        if marker == _EOI:
            return
        position = found.end()
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
