"""A TIFF file whose colours lie in planes of 16 bits, taken apart: OpenCV answers stripes for it, and Pillow noise."""

from __future__ import annotations

import struct

from PIL.TiffImagePlugin import ImageFileDirectory_v2

_BITS, _COLOUR_SPACE, _SAMPLES, _BLACK_IS_ZERO = 258, 262, 277, 1
# Strips' and tiles' places and lengths: those of the first plane come first.
_PIECES = (273, 279, 324, 325)
# Width, height, compression, order of bits, orientation, rows of a strip, predictor, width and height of tiles.
_KEPT = (256, 257, 259, 266, 274, 278, 317, 322, 323)


def tiff_planes(data: bytes, tags: ImageFileDirectory_v2) -> list[bytes]:
    """Each plane of the TIFF file `data`, whose first directory is `tags`, as a grey TIFF file."""
    order = "<" if data.startswith(b"II") else ">"
    count, planes = tags[_SAMPLES], []
    for plane in range(count):
        entries = {_BITS: (16,), _COLOUR_SPACE: (_BLACK_IS_ZERO,), _SAMPLES: (1,)}
        entries |= {tag: (int(tags[tag]),) for tag in _KEPT if tag in tags}
        for tag in _PIECES:
            if tag in tags:
                share = len(tags[tag]) // count
                entries[tag] = tags[tag][plane * share : (plane + 1) * share]
        planes.append(_with_directory(data, entries, order))
    return planes


def _with_directory(data: bytes, entries: dict[int, tuple[int, ...]], order: str) -> bytes:
    """The TIFF file `data` with the directory `entries` in place of its own; what that points to stays where it was."""
    start = len(data) + len(data) % 2
    values_start = start + 2 + 12 * len(entries) + 4
    directory, values = struct.pack(f"{order}H", len(entries)), b""
    for tag, numbers in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        place = packed if len(numbers) == 1 else struct.pack(f"{order}I", values_start + len(values))
        values += b"" if len(numbers) == 1 else packed
        # 4 is the type of numbers of 32 bits.
        directory += struct.pack(f"{order}2HI", tag, 4, len(numbers)) + place
    head = data[:2] + struct.pack(f"{order}HI", 42, start)
    return head + data[len(head) :].ljust(start - len(head), b"\0") + directory + bytes(4) + values
