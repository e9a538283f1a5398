"""How large the frames inside an AVIF file are, which its header doesn't say and its decoder allocates.

Boxes: ISO/IEC 14496-12 and 23008-12. Frames: "AV1 Bitstream & Decoding Process Specification", sections 5.3 to 5.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from barevision.errors import PictureError, PictureTooLargeError

# A photo has a dozen boxes, and a handful of units in each of at most 256 tiles.
_MAX_BOXES = 10_000
_MAX_UNITS = 10_000
# For each item that these boxes name, libavif goes through all of them, and Pillow holds Python's lock meanwhile:
# 60,000 items stopped the whole service for ten seconds. A photo of 256 tiles has 13 KB of them.
_ITEM_LISTS = (b"iinf", b"iloc", b"iref", b"ipma")
_MAX_ITEM_BYTES = 32 * 1024
# Alpha, a gain map, layers and the rims of tiles may add up to this many times the picture; a thumbnail is allowed
# beside them.
_FRAMES_PER_PICTURE = 4
_THUMBNAIL_PIXELS = 2**20
# Frames may add up to this many times the largest picture that is allowed.
_FRAMES_PER_LIMIT = 3

_SEQUENCE_HEADER = 1
_SEQUENCE_HEADER_BYTES = 1024


def check_avif_items(data: bytes) -> None:
    """Raises `PictureError` if the AVIF file `data` names so many items that opening it stops the service."""
    length, seen = 0, set()
    # Of each box that contains others there is one, or this would itself take long: meta, and iprp in it.
    waiting = [(b"", memoryview(data))]
    try:
        while waiting:
            container, content = waiting.pop()
            for kind, box in _boxes(content):
                if (container, kind) in ((b"", b"meta"), (b"meta", b"iprp")):
                    if kind in seen:
                        raise PictureError(f"the picture is damaged or a film: it has several boxes {kind.decode()}")
                    seen.add(kind)
                    # Four bytes of version and flags precede the boxes in meta.
                    waiting.append((kind, box[4:] if kind == b"meta" else box))
                elif container and kind in _ITEM_LISTS:
                    length += len(box)
    except IndexError as error:
        raise PictureError("the picture is damaged or cut short: its file's boxes are incomplete") from error
    if length > _MAX_ITEM_BYTES:
        raise PictureError(f"the picture has more than {_MAX_ITEM_BYTES} bytes of AVIF items; save it anew")


def check_avif_frames(data: bytes, pixels: int, max_pixels: int) -> None:
    """Holds the frames inside the AVIF file `data` against the `pixels` that its header announces.

    :raises PictureTooLargeError: they may have many more.
    :raises PictureError: they can't be found.
    """
    announced = possible = 0
    try:
        for frame in _frames(data):
            announced += frame.width * frame.height
            possible += frame.largest
    except IndexError as error:
        raise PictureError("the picture is damaged or cut short: its AV1 frames can't be found") from error
    if announced > _FRAMES_PER_PICTURE * pixels + _THUMBNAIL_PIXELS or possible > _FRAMES_PER_LIMIT * max_pixels:
        raise PictureTooLargeError(
            f"the picture has {pixels} pixels by its header, but its AV1 frames up to {possible}; save it anew"
        )


@dataclass(frozen=True)
class _Frame:
    """What a sequence header allows: `largest` pixels, where a frame's own header may exceed width and height."""

    width: int
    height: int
    largest: int


def _frames(data: bytes) -> Iterator[_Frame]:
    count = 0
    for item in _av1_items(data):
        for kind, unit in _units(item):
            count += 1
            if count > _MAX_UNITS:
                raise PictureError(f"the picture has more than {_MAX_UNITS} AV1 units; save it anew")
            if kind == _SEQUENCE_HEADER:
                yield _sequence_header(unit)


# ---- Boxes


@dataclass
class _Reader:
    """Big-endian numbers from `data`; reading beyond its end raises `IndexError`."""

    data: memoryview
    position: int = 0

    def take(self, count: int) -> memoryview:
        """The next `count` bytes."""
        if count < 0 or self.position + count > len(self.data):
            raise IndexError("beyond the end")
        self.position += count
        return self.data[self.position - count : self.position]

    def number(self, count: int) -> int:
        """The next `count` bytes as a number; 0 for none."""
        return int.from_bytes(self.take(count), "big")


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    reader = _Reader(data)
    for _ in range(_MAX_BOXES):
        if reader.position == len(data):
            return
        start = reader.position
        size, kind = reader.number(4), bytes(reader.take(4))
        if size == 1:
            size = reader.number(8)
        elif size == 0:
            size = len(data) - start
        yield kind, reader.take(size - (reader.position - start))
    raise PictureError(f"the picture has more than {_MAX_BOXES} boxes; save it anew")


def _av1_items(data: bytes) -> Iterator[memoryview]:
    """The AV1 pictures of the file: tiles, alpha and thumbnails too."""
    file = memoryview(data)
    metas = [content for kind, content in _boxes(file) if kind == b"meta"]
    if len(metas) != 1:
        raise PictureError("the picture is damaged or a film: it has no still picture")
    # Four bytes of version and flags precede the boxes.
    meta = dict(_boxes(metas[0][4:]))
    if not {b"iinf", b"iloc"} <= meta.keys():
        raise PictureError("the picture is damaged: it doesn't say where its frames are")
    av1_items = _av1_item_numbers(meta[b"iinf"])
    sources, left = (file, meta.get(b"idat", memoryview(b""))), len(data)
    for number, method, extents in _locations(meta[b"iloc"]):
        if number in av1_items:
            if method >= len(sources):
                raise PictureError("the picture's frames are parts of each other, which is not supported")
            # Items that overlap could add up to the file a thousand times.
            item = _joined(sources[method], extents, left)
            left -= len(item)
            yield item


def _joined(source: memoryview, extents: list[tuple[int, int]], limit: int) -> memoryview:
    pieces = []
    for offset, length in extents:
        end = offset + length if length else len(source)
        if offset > len(source) or end > len(source):
            raise IndexError("beyond the end")
        pieces.append(source[offset:end])
        limit -= end - offset
        if limit < 0:
            raise PictureError("the picture's frames are larger than its file")
    return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))


def _av1_item_numbers(iinf: memoryview) -> set[int]:
    # Version, flags and the count, of two or four bytes.
    numbers = set()
    for kind, entry in _boxes(iinf[6 if iinf[0] == 0 else 8 :]):
        reader = _Reader(entry)
        version = reader.number(4) >> 24
        if kind == b"infe" and version >= 2:
            number = reader.number(2 if version == 2 else 4)
            reader.take(2)
            if reader.take(4) == b"av01":
                numbers.add(number)
    return numbers


def _locations(iloc: memoryview) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Number, construction method and extents (offset, length) of each item."""
    reader = _Reader(iloc)
    version = reader.number(4) >> 24
    sizes = reader.number(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 4 if version == 2 else 2
    entries = 0
    for _ in range(reader.number(wide)):
        number = reader.number(wide)
        method = reader.number(2) & 15 if version else 0
        reader.take(2)
        base = reader.number(base_size)
        extents = []
        for _ in range(reader.number(2)):
            reader.take(index_size if version else 0)
            extents.append((base + reader.number(offset_size), reader.number(length_size)))
            entries += 1
            if entries > _MAX_BOXES:
                raise PictureError(f"the picture is in more than {_MAX_BOXES} pieces; save it anew")
        yield number, method, extents


# ---- Frames


def _units(item: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Kind and content of each open bitstream unit."""
    reader = _Reader(item)
    while reader.position < len(item):
        head = reader.number(1)
        # An extension byte.
        reader.take(head >> 2 & 1)
        size = _leb128(reader) if head >> 1 & 1 else len(item) - reader.position
        yield head >> 3 & 15, reader.take(size)


def _leb128(reader: _Reader) -> int:
    value = 0
    for shift in range(0, 56, 7):
        byte = reader.number(1)
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    raise IndexError("a number without an end")


def _sequence_header(unit: memoryview) -> _Frame:
    content = bytes(unit[:_SEQUENCE_HEADER_BYTES])
    number, left = int.from_bytes(content, "big"), 8 * len(content)

    def read(count: int) -> int:
        nonlocal left
        left -= count
        if left < 0:
            raise IndexError("beyond the end")
        return number >> left & (1 << count) - 1

    # Profile, and whether it is a still picture.
    read(4)
    reduced = read(1)
    if reduced:
        # The level.
        read(5)
    else:
        _skip_operation(read)
    width_bits, height_bits = read(4) + 1, read(4) + 1
    width, height = read(width_bits) + 1, read(height_bits) + 1
    return _Frame(width, height, width * height if reduced else 1 << width_bits + height_bits)


def _skip_operation(read: Callable[[int], int]) -> None:
    """Past timing and operating points, which stand before the size."""
    delay_bits = 0
    if read(1):
        read(64)
        if read(1):
            zeros = 0
            while not read(1):
                zeros += 1
            read(zeros if zeros < 32 else 0)
        if read(1):
            delay_bits = read(5) + 1
            read(42)
    displays = read(1)
    for _ in range(read(5) + 1):
        read(12)
        if read(5) > 7:
            read(1)
        if delay_bits and read(1):
            read(2 * delay_bits + 1)
        if displays and read(1):
            read(4)
