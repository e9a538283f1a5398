"""What is read, and refused, by a picture's header alone."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from barevision.errors import PictureError, PictureTooLargeError, SideTooLongError
from barevision.pictures.decode import decode_image, decode_reduced
from tests.support.pictures import encoded, png_chunk


def test_pixels_are_limited_by_the_header_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = b"IHDR" + struct.pack(">2I5B", 10_000, 10_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    bomb += png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(PictureTooLargeError, match="10000x10000 = 100000000 pixels, allowed are 50000000"):
        decode_image(bomb, 50_000_000)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF"])
def test_sides_are_limited_by_the_header_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(np.zeros((8, 2000, 3), np.uint8), kind)
    assert decode_reduced(data, 16_000, 2000)[0].shape == (8, 2000, 3)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(PictureTooLargeError, match="2000x8 = 16000 pixels, allowed are 15999"):
        decode_image(data, 15_999)
    with pytest.raises(SideTooLongError, match="2000x8 pixels, allowed are 1999 a side"):
        decode_reduced(data, 16_000, 1999)


def test_tiles_are_pictures_too(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = [
        (256, 10),
        (257, 10),
        (258, 8),
        (259, 8),
        (262, 1),
        (277, 1),
        (322, 16384),
        (323, 16000),
        (324, 8),
        (325, 9),
    ]
    data = b"II*\0" + struct.pack("<IH", 8, len(tags))
    data += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags) + bytes(4)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(PictureTooLargeError, match="tiles have 16384x16000 = 262144000 pixels, allowed are 50000000"):
        decode_image(data, 50_000_000)


@pytest.mark.parametrize(("extension", "channels"), [(".png", 3), (".png", 4), (".tiff", 3), (".tiff", 4)])
def test_pixels_of_more_than_four_bytes_count_as_more_than_one(
    extension: str, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = cv2.imencode(extension, np.zeros((40, 50, channels), np.uint16))[1].tobytes()
    assert decode_image(data, 500 * 2 * channels).shape == (40, 50, 3)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(PictureTooLargeError, match=f"2000 pixels of {2 * channels} bytes each"):
        decode_image(data, 500 * 2 * channels - 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_tiffs_of_other_samples_than_8_and_16_bits_are_refused_in_words(
    dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = cv2.imencode(".tiff", np.ones((40, 60), dtype))[1].tobytes()
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(PictureError, match=r"save it with 8 or 16 bits each|TIFF of a kind that is not supported"):
        decode_image(data, 10**6)


def test_exif_behind_the_pixels_counts_too(photo: np.ndarray) -> None:
    data = encoded(photo)
    block = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = decode_image(data[:-12] + png_chunk(b"eXIf", block) + data[-12:], 10**6)
    np.testing.assert_array_equal(turned, np.rot90(photo, -1))


@pytest.mark.parametrize(
    "block", [b"", b"x", b"MM\0*", b"II*\0\x08\0\0\0\xff\xff", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0"]
)
def test_a_picture_with_damaged_exif_is_shown_as_it_is(photo: np.ndarray, block: bytes) -> None:
    data = encoded(photo)
    png = data[:-12] + png_chunk(b"eXIf", block) + data[-12:]
    np.testing.assert_array_equal(decode_image(png, 10**6), photo)
    jpeg = encoded(photo, "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 8 + len(block)) + b"Exif\0\0" + block
    np.testing.assert_array_equal(decode_image(jpeg[:2] + segment + jpeg[2:], 10**6), decode_image(jpeg, 10**6))
