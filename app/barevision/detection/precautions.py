"""What decoders believe without looking: checked here, on the encoded bytes, before they allocate or compute for it."""

from __future__ import annotations

import re
import struct

from barevision.detection.errors import ImageError

_PNG_SIGNATURE_BYTES = 8
# Encoders write chunks of 8 KiB and more: this many are 800 MB of them. Each one costs a microsecond here.
_MAX_PNG_CHUNKS = 100_000
_PNG_ANIMATION = (b"acTL", b"fcTL", b"fdAT")

# Encoders write about ten scans. Each one goes over all pixels again, however few bytes it has.
_MAX_JPEG_SCANS = 100
_MAX_JPEG_SEGMENTS = 10_000
_SOS, _EOI, _TEM = 0xDA, 0xD9, 0x01
# 0xFF before 0 is data, before 0xFF filling; restart markers stand within a scan.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")


def still_png(data: bytes) -> bytes:
    """The PNG file `data` up to its end and without animation: the picture that every viewer shows.

    OpenCV allocates what a chunk's length field says (4 GB at will), and three more pictures for an animation.

    :raises ImageError: a chunk reaches beyond the end of the file, or there are too many.
    """
    parts, start, position = [], 0, _PNG_SIGNATURE_BYTES
    for _ in range(_MAX_PNG_CHUNKS):
        if position + 12 > len(data):
            raise ImageError("the picture is cut short: it ends before its last chunk")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise ImageError(f"the picture is damaged or cut short: chunk {kind!r} at byte {position} is not all there")
        if kind in _PNG_ANIMATION:
            parts.append(data[start:position])
            start = end
        position = end
        if kind == b"IEND":
            return b"".join([*parts, data[start:position]]) if parts else data
    raise ImageError(f"the picture has more than {_MAX_PNG_CHUNKS} chunks; save it anew")


def check_jpeg_scans(data: bytes) -> None:
    """Raises `ImageError` if the JPEG file `data` has so many scans that decoding takes minutes."""
    # Usually settled here. More may stand in what is no scan: a film behind the photo, a thumbnail, a profile.
    if data.count(b"\xff\xda") <= _MAX_JPEG_SCANS:
        return
    scans, position = 0, 2
    for _ in range(_MAX_JPEG_SEGMENTS):
        found = _JPEG_MARKER.search(data, position)
        marker = found[1][0] if found else _EOI
        if marker == _EOI:
            return
        scans += marker == _SOS
        if scans > _MAX_JPEG_SCANS:
            raise ImageError(f"the picture has more than {_MAX_JPEG_SCANS} progressive scans; save it with fewer")
        position = found.end() + (0 if marker == _TEM else _segment_length(data, found.end()))
    raise ImageError(f"the picture has more than {_MAX_JPEG_SEGMENTS} JPEG segments; save it anew")


def _segment_length(data: bytes, position: int) -> int:
    return int.from_bytes(data[position : position + 2], "big")
