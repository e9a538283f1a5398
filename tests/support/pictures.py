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
