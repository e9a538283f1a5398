"""Encoded pictures made up for a test."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def encoded(image: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """`image`, uint8 (height, width) or (height, width, 3) BGR, as Pillow's encoder writes it."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., ::-1] if image.ndim == 3 else image).save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes, length: int | None = None) -> bytes:
    """A chunk of a PNG file.

    :param length: what the chunk says of its length, if not the truth.
    """
    length = len(content) if length is None else length
    return struct.pack(">I", length) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


#: Red, green and blue of the palette that `palette_bmp` writes.
PALETTE = ((250, 240, 20), (30, 60, 200), (0, 0, 0), (200, 30, 40))


def palette_bmp(numbers: np.ndarray, bits: int, header_bytes: int, run_lengths: bool = False) -> bytes:
    """A BMP file of palette numbers (height, width) below 4 and 2 ** bits; a header of 12 bytes is OS/2's."""
    height, width = numbers.shape
    palette = b"".join(bytes(colour[::-1]) + bytes(header_bytes > 12) for colour in PALETTE[: 2**bits])
    colours = len(PALETTE[: 2**bits])
    if header_bytes == 12:
        header = struct.pack("<I4H", 12, width, height, 1, bits)
        # OS/2's palette is always a whole one.
        palette = palette.ljust(3 * 2**bits, b"\0")
    else:
        compression = {8: 1, 4: 2}[bits] if run_lengths else 0
        header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, colours, 0)
        header = struct.pack("<I", header_bytes) + header[4:].ljust(header_bytes - 4, b"\0")
    rows = [_bmp_run_lengths(row, bits) if run_lengths else _bmp_row(row, bits) for row in numbers[::-1]]
    pixels = b"".join(rows) + (b"\0\1" if run_lengths else b"")
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + palette + pixels


def _bmp_row(row: np.ndarray, bits: int) -> bytes:
    digits = "".join(f"{number:0{bits}b}" for number in row)
    digits = digits.ljust(-(-len(digits) // 32) * 32, "0")
    return int(digits, 2).to_bytes(len(digits) // 8, "big")


def _bmp_run_lengths(row: np.ndarray, bits: int) -> bytes:
    """A run for each pixel, and the end of the line."""
    return b"".join(bytes([1, number if bits == 8 else number << 4]) for number in row) + b"\0\0"


def tiff(tags: dict[int, list[int]], pixels: bytes, order: str = "<") -> bytes:
    """A TIFF file of one strip or tile, or of pieces of the same length as many as `tags` has lengths (279 or 325).

    :param tags: but for the pieces' places.
    """
    places, lengths = (273, 279) if 279 in tags else (324, 325)
    starts = [8 + sum(tags[lengths][:number]) for number in range(len(tags[lengths]))]
    entries = sorted({**tags, places: starts}.items())
    start = 8 + len(pixels) + len(pixels) % 2
    values_start, directory, values = start + 2 + 12 * len(entries) + 4, struct.pack(f"{order}H", len(entries)), b""
    for tag, numbers in entries:
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            packed, values = struct.pack(f"{order}I", values_start + len(values)), values + packed
        directory += struct.pack(f"{order}2HI", tag, 4, len(numbers)) + packed
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start)
    return head + pixels.ljust(start - 8, b"\0") + directory + bytes(4) + values


def gif(numbers: np.ndarray, screen: tuple[int, int], left: int = 0, top: int = 0, background: int = 0) -> bytes:
    """A GIF file of palette numbers (height, width) below 4, on a screen of (width, height), with `PALETTE`."""
    height, width = numbers.shape
    # Codes of three bits, with a clearing code before each number, so that no table grows.
    bits = "".join(f"{number:03b}{4:03b}" for number in numbers.ravel()[::-1].tolist())
    bits = f"{5:03b}{bits}"
    packed = int(bits, 2).to_bytes(-(-len(bits) // 8), "little")
    blocks = b"".join(bytes([len(packed[at : at + 255])]) + packed[at : at + 255] for at in range(0, len(packed), 255))
    palette = b"".join(bytes(colour) for colour in PALETTE)
    head = b"GIF89a" + struct.pack("<2H3B", *screen, 0x81, background, 0)
    return head + palette + b"," + struct.pack("<4HB", left, top, width, height, 0) + b"\2" + blocks + b"\0;"
