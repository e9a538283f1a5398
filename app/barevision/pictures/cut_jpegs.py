"""Whether a JPEG has all of its pixels, which neither its end mark nor the decoder says.

Cameras, and whatever saves a stream, leave out the two bytes of the end mark, or lose a few more: nothing is missing
then, or a corner of the last row of blocks, and viewers show the picture. A file that was cut while it was sent may
have the mark all the same, where a program put it there. libjpeg fills with grey what has no data.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from barevision.errors import PictureError
from barevision.pictures.limits import EOI, FRAMES, PROGRESSIVE_FRAMES, SOS, jpeg_segments

_END_MARK = b"\xff\xd9"
_GREY = 128
# Random numbers below 255, which no decoder takes for a marker, the same ones each time.
_NOISE = bytes(random.Random(0).choices(range(255), k=4096))
# A row of blocks is 8 or 16 pixels high, and the row above is smoothed with it. A file that lacks a few bytes lacks a
# part of that, or of the last sixteenth of a large photo: too little to hide an object.
_MOST_ROWS = 17
_MOST_SHARE = 1 / 16
_ALL_COEFFICIENTS = (1 << 64) - 1


def with_end_mark(data: bytes) -> bytes:
    """The JPEG file `data` with an end mark behind it, without which OpenCV decodes nothing."""
    return data if data.endswith(_END_MARK) else data + _END_MARK


def check_jpeg_is_whole(data: bytes, image: np.ndarray, height: int, decode: Callable[[bytes], np.ndarray]) -> None:
    """Raises `PictureError` if more of the JPEG file `data` is missing than its last few rows.

    What is appended to a file changes only what had no data. So a file that ends too soon, or whose last pixel has
    the grey of missing data, is decoded again with noise behind it, and rows that differ were missing.

    :param image: `data` as `decode` decodes it, uint8 (rows, columns, 3).
    :param height: of the whole picture in pixels; `image` may be reduced.
    """
    is_grey = bool((image[-1, -1] == _GREY).all())
    if data.endswith(_END_MARK) and not is_grey:
        return
    segments = list(jpeg_segments(data))
    has_mark = bool(segments) and segments[-1].marker == EOI
    if has_mark and not is_grey:
        return
    if not has_mark and not _has_all_scans(segments):
        raise PictureError("the picture is cut short: some of its scans are missing")
    content = data[: segments[-1].end - len(_END_MARK)] if has_mark else data
    # Half a marker would make the noise one.
    filled = decode(content.rstrip(b"\xff") + _NOISE + _END_MARK)
    differing = np.flatnonzero((filled != image).any(axis=(1, 2)))
    if differing.size:
        missing = round((len(image) - int(differing[0])) * height / len(image))
        if missing > max(_MOST_ROWS, height * _MOST_SHARE):
            raise PictureError(f"the picture is cut short: the last {missing} of its {height} rows are missing")


def _has_all_scans(segments: list) -> bool:
    """Whether the last pass over each component's coefficients has begun."""
    is_progressive, left = False, {}
    for marker, content, _ in segments:
        if marker in FRAMES and len(content) >= 6:
            is_progressive = marker in PROGRESSIVE_FRAMES
            left = dict.fromkeys(content[6 : 6 + 3 * content[5] : 3], _ALL_COEFFICIENTS)
        elif marker == SOS and content and len(content) >= 4 + 2 * content[0]:
            start, end, bits = content[1 + 2 * content[0] : 4 + 2 * content[0]]
            done = _ALL_COEFFICIENTS
            if is_progressive:
                done = 0 if bits & 15 else (1 << min(end, 63) + 1) - (1 << min(start, 63))
            for component in content[1 : 1 + 2 * content[0] : 2]:
                left[component] = left.get(component, 0) & ~done
    return not any(left.values())
