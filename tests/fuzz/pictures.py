"""Whole pictures in every format, and ways to damage them."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image

from tests.support.pictures import palette_bmp, tiff

_EXIF = Image.Exif()
_EXIF[274], _EXIF[271] = 6, "a camera"


def _planar_tiff(picture: Image.Image) -> bytes:
    """Red, green and blue of 16 bits, a plane each."""
    planes = np.moveaxis(np.asarray(picture.convert("RGB")).astype("<u2") * 257, -1, 0)
    tags = {256: [picture.width], 257: [picture.height], 258: [16] * 3, 259: [1], 262: [2], 277: [3], 284: [2]}
    return tiff({**tags, 278: [picture.height], 279: [planes[0].nbytes] * 3}, planes.tobytes())


def _numbers(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L")) >> 6


#: Pillow's mode, format and options of each kind of file, or what else writes it.
KINDS: dict[str, tuple[str, str, dict] | Callable[[Image.Image], bytes]] = {
    "JPEG": ("RGB", "JPEG", {}),
    "progressive JPEG": ("RGB", "JPEG", {"progressive": True}),
    "grey JPEG": ("L", "JPEG", {}),
    "CMYK JPEG": ("CMYK", "JPEG", {}),
    "JPEG with EXIF": ("RGB", "JPEG", {"exif": _EXIF}),
    "MPO": ("RGB", "MPO", {"save_all": True}),
    "PNG": ("RGB", "PNG", {}),
    "PNG with alpha and EXIF": ("RGBA", "PNG", {"exif": _EXIF}),
    "palette PNG": ("P", "PNG", {"transparency": 0}),
    "16-bit PNG": ("I;16", "PNG", {}),
    "animated PNG": ("RGB", "PNG", {"save_all": True}),
    "WEBP": ("RGB", "WEBP", {"exif": _EXIF}),
    "lossless WEBP with alpha": ("RGBA", "WEBP", {"lossless": True}),
    "animated WEBP": ("RGB", "WEBP", {"save_all": True}),
    "GIF": ("RGB", "GIF", {"save_all": True}),
    "GIF with transparency": ("P", "GIF", {"transparency": 0, "interlace": 1}),
    "BMP": ("RGB", "BMP", {}),
    "BMP with alpha": ("RGBA", "BMP", {}),
    "palette BMP": ("P", "BMP", {}),
    "black and white BMP": ("1", "BMP", {}),
    "OS/2 BMP": lambda picture: palette_bmp(_numbers(picture), 4, 12),
    "BMP of run lengths": lambda picture: palette_bmp(_numbers(picture), 8, 40, run_lengths=True),
    "BMP of short run lengths": lambda picture: palette_bmp(_numbers(picture), 4, 40, run_lengths=True),
    "TIFF": ("RGB", "TIFF", {"compression": "tiff_lzw", "exif": _EXIF}),
    "deflated TIFF with alpha": ("RGBA", "TIFF", {"compression": "tiff_deflate"}),
    "TIFF with a JPEG inside": ("RGB", "TIFF", {"compression": "jpeg"}),
    "16-bit TIFF": ("I;16", "TIFF", {}),
    "TIFF with grey and alpha": ("LA", "TIFF", {"compression": "packbits"}),
    "palette TIFF": ("P", "TIFF", {"compression": "tiff_lzw"}),
    "CMYK TIFF": ("CMYK", "TIFF", {}),
    "plain YCbCr TIFF": ("YCbCr", "TIFF", {}),
    "TIFF in planes of 16 bits": _planar_tiff,
    "float TIFF": ("F", "TIFF", {}),
    "fax TIFF": ("1", "TIFF", {"compression": "group4"}),
    "AVIF": ("RGB", "AVIF", {"exif": _EXIF}),
    "AVIF with alpha": ("RGBA", "AVIF", {}),
    "animated AVIF": ("RGB", "AVIF", {"save_all": True}),
}
_MAGIC = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"II+\0\x08\0\0\0",
    b"RIFF\0\0\0\0WEBP",
    b"\0\0\0\x20ftypavif",
    b"\0\0\0\x0cjP  \r\n\x87\n",
    b"<html>",
    b"%PDF-1.4",
    b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    b"<svg>",
)
_EXTREMES = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 13, 2**32 - 1)
_STRUCTURES = re.compile(
    rb"IHDR|PLTE|tRNS|IDAT|acTL|fcTL|fdAT|eXIf|IEND|VP8 |VP8L|VP8X|ALPH|ANIM|ANMF|EXIF|ftyp|meta|iloc|iinf|infe|iprp|"
    rb"ipco|ipma|ispe|av1C|pixi|idat|moov|mdat|RIFF|\xff[\xc0-\xc4\xda\xdb\xdd\xe0-\xef\xfe]|\x21[\xf9\xfe\xff]|\x2c",
    re.DOTALL,
)


def encode(picture: Image.Image, kind: str) -> bytes:
    """`picture` as a file of one of `KINDS`; its mirror image is the second frame of those that move."""
    if callable(KINDS[kind]):
        return KINDS[kind](picture)
    mode, file_format, options = KINDS[kind]
    if options.get("save_all"):
        options = {**options, "append_images": [_converted(picture.transpose(Image.Transpose.ROTATE_180), mode)]}
    file = io.BytesIO()
    _converted(picture, mode).save(file, file_format, **options)
    return file.getvalue()


def _converted(picture: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return picture.convert("L").convert("I").point(lambda value: value * 200).convert("I;16")
    if mode == "RGBA":
        picture = picture.convert("RGB")
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return picture.convert(mode)


def damaged(data: bytes, others: list[bytes], chance: Random) -> bytes:
    """`data` after one to three damages of any kind.

    :param others: what may be spliced with it.
    """
    for _ in range(chance.choice((1, 1, 2, 3))):
        data = chance.choice(DAMAGES)(data, others, chance) or b"\0"
    return data


def _near_the_start(data: bytes, chance: Random) -> int:
    return min(int(chance.expovariate(1 / 80)), len(data) - 1)


def change_bytes(data: bytes, _: list[bytes], chance: Random) -> bytes:
    """One to eight bytes set, taken out or put in, mostly near the beginning."""
    mutable = bytearray(data)
    for _ in range(chance.choice((1, 2, 4, 8))):
        if not mutable:
            break
        start = _near_the_start(mutable, chance) if chance.random() < 0.7 else chance.randrange(len(mutable))
        end = start + chance.choice((0, 1, 1, 1, 4))
        mutable[start:end] = bytes(chance.choice((0, 127, 255, chance.randrange(256))) for _ in range(end - start))
        if chance.random() < 0.2:
            del mutable[start : start + chance.randrange(1, 9)]
    return bytes(mutable)


def cut(data: bytes, _: list[bytes], chance: Random) -> bytes:
    """The beginning of it."""
    return data[: chance.choice((chance.randrange(len(data) + 1), max(0, len(data) - chance.randrange(1, 20))))]


def lose_a_piece(data: bytes, _: list[bytes], chance: Random) -> bytes:
    """A piece missing in the middle."""
    start = chance.randrange(len(data))
    return data[:start] + data[start + chance.randrange(1, 500) :]


def splice(data: bytes, others: list[bytes], chance: Random) -> bytes:
    """The beginning of one file and the end of another."""
    other = chance.choice(others)
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other)) :]


def set_a_number(data: bytes, _: list[bytes], chance: Random) -> bytes:
    """An extreme number, of two or four bytes, somewhere in the first 200."""
    start = chance.randrange(min(200, len(data)))
    return _with_number(data, start, chance)


def set_a_length(data: bytes, _: list[bytes], chance: Random) -> bytes:
    """An extreme number beside a chunk's, box's or segment's name."""
    names = list(_STRUCTURES.finditer(data, 0, 5000))
    if not names:
        return data
    name = chance.choice(names)
    return _with_number(data, max(0, chance.choice((name.start() - 4, name.end(), name.end() + 4))), chance)


def _with_number(data: bytes, start: int, chance: Random) -> bytes:
    number, order = chance.choice(_EXTREMES), chance.choice("<>")
    packed = struct.pack(f"{order}I", number) if chance.random() < 0.5 else struct.pack(f"{order}H", number & 65535)
    return data[:start] + packed + data[start + len(packed) :]


def damage_exif(data: bytes, others: list[bytes], chance: Random) -> bytes:
    """Bytes changed after an EXIF block's beginning."""
    start = max(data.find(mark) for mark in (b"Exif\0\0", b"eXIf", b"EXIF", b"MM\0*", b"II*\0"))
    if start < 0:
        return change_bytes(data, others, chance)
    return (
        data[: start + 4] + change_bytes(data[start + 4 : start + 300] or b"\0", others, chance) + data[start + 300 :]
    )


def relabel(data: bytes, _: list[bytes], chance: Random) -> bytes:
    """Another format's first bytes."""
    magic = chance.choice(_MAGIC)
    return magic + data[chance.choice((0, len(magic))) :]


def repeat_a_piece(data: bytes, _: list[bytes], chance: Random) -> bytes:
    """A piece a thousand times, 200 kB at most."""
    start = _near_the_start(data, chance)
    piece = data[start : start + chance.randrange(1, 200)]
    return data[:start] + piece * chance.choice((2, 20, 1000)) + data[start:]


Damage = Callable[[bytes, list[bytes], Random], bytes]
DAMAGES: tuple[Damage, ...] = (
    change_bytes,
    change_bytes,
    cut,
    lose_a_piece,
    splice,
    set_a_number,
    set_a_length,
    damage_exif,
    relabel,
    repeat_a_piece,
)
