"""What decoders would believe: chunks, scans and segments without end."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from barevision.errors import PictureError
from barevision.pictures import limits
from barevision.pictures.decode import decode_image
from tests.support.pictures import encoded, png_chunk


@pytest.mark.parametrize("length", [2**31 - 1, 2**32 - 13, 5])
def test_a_png_chunk_that_is_not_all_there_is_never_allocated(
    photo: np.ndarray, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    decoded = []
    monkeypatch.setattr(cv2, "imdecode", lambda data, _: decoded.append(data))
    data = encoded(photo)
    with pytest.raises(PictureError, match="damaged or cut short: chunk b'tEXt'"):
        decode_image(data[:33] + png_chunk(b"tEXt", b"", length), 10**6)
    assert decoded == []
    with pytest.raises(PictureError, match="can't be decoded"):
        decode_image(data[:33] + png_chunk(b"IDAT", b"", length), 10**6)
    # Of pixels the decoder gets what is there: here the four bytes of the checksum.
    assert bytes(decoded[0][33:37]) == struct.pack(">I", 4)


def test_a_png_ends_with_its_last_chunk_whatever_follows(photo: np.ndarray) -> None:
    data = encoded(photo)
    np.testing.assert_array_equal(decode_image(data + b"more" + bytes(100), 10**6), photo)
    for missing in (1, 11, 12, 13, 16):
        np.testing.assert_array_equal(decode_image(data[:-missing], 10**6), photo)
    with pytest.raises(PictureError, match="can't be decoded"):
        decode_image(data[: len(data) // 2], 10**6)


@pytest.mark.parametrize("kind", ["CgBI", "IDAT", "IHDR twice", "short IHDR"])
def test_a_png_begins_with_its_one_header(photo: np.ndarray, kind: str) -> None:
    data = encoded(photo)
    header, rest = data[8:33], data[33:]
    damaged = {
        "CgBI": png_chunk(b"CgBI", b"1234") + header,
        "IDAT": png_chunk(b"IDAT", b"1234") + header,
        "IHDR twice": header + png_chunk(b"IHDR", struct.pack(">2I5B", 60_000, 60_000, 8, 2, 0, 0, 0)),
        "short IHDR": png_chunk(b"IHDR", header[8:20]),
    }
    with pytest.raises(PictureError, match="is damaged"):
        decode_image(data[:8] + damaged[kind] + rest, 10**10)


def test_of_an_animated_png_only_the_still_picture_is_decoded(photo: np.ndarray) -> None:
    others = [Image.fromarray(np.full_like(photo, value)) for value in (0, 255)]
    data = encoded(photo, save_all=True, append_images=others)
    assert b"fdAT" in data
    still, _ = limits.still_png(data)
    assert not any(kind in still for kind in (b"acTL", b"fcTL", b"fdAT"))
    np.testing.assert_array_equal(decode_image(data, 10**6), photo)


def test_png_chunks_are_counted(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MAX_PNG_CHUNKS", 3)
    assert decode_image(encoded(photo), 10**6).shape == photo.shape
    with pytest.raises(PictureError, match="more than 3 chunks"):
        decode_image(encoded(photo)[:33] + png_chunk(b"tEXt", b"a") + encoded(photo)[33:], 10**6)


def test_texts_and_profiles_never_reach_the_decoder(photo: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    data = encoded(photo)
    bad = b"\0\0\0\0tEXt" + struct.pack(">I", zlib.crc32(b"tEXt"))
    np.testing.assert_array_equal(decode_image(data[:33] + bad * 1000 + data[33:], 10**6), photo)
    assert capfd.readouterr().err == ""


def with_scans(data: bytes, count: int) -> bytes:
    """The progressive JPEG file `data` with its last scan `count` times more."""
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def test_jpeg_scans_are_counted_and_what_only_looks_like_one_is_not(photo: np.ndarray) -> None:
    data = encoded(photo, "JPEG", progressive=True)
    with pytest.raises(PictureError, match="more than 100 progressive scans"):
        decode_image(with_scans(data, 101), 10**6)
    with pytest.raises(PictureError, match="more than 20 progressive scans"):
        decode_image(with_scans(data, 21), photo.shape[0] * photo.shape[1])
    np.testing.assert_array_equal(decode_image(data + b"\xff\xda" * 500, 10**6), decode_image(data, 10**6))
    comment = b"\xff\xfe" + struct.pack(">H", 1002) + b"\xff\xda" * 500
    np.testing.assert_array_equal(decode_image(data[:2] + comment + data[2:], 10**6), decode_image(data, 10**6))


def test_tiny_segments_by_the_hundred_thousand_are_no_work(photo: np.ndarray) -> None:
    jpeg = encoded(photo, "JPEG")
    for segment in (b"\xff\xe1\0\x12Exif\0\0II*\0\x08\0\0\0", b"\xff\xfe\0\2"):
        with pytest.raises(PictureError, match="more than 10000 JPEG segments"):
            decode_image(jpeg[:2] + segment * 100_000 + jpeg[2:], 10**6)
    gif = encoded(photo, "GIF")
    start = 13 + 3 * (2 << (gif[10] & 7))
    assert decode_image(gif[:start] + b"\x21\xfe\1a\0" * 100_000 + gif[start:], 10**6).shape == photo.shape
    tags = struct.pack("<2sHIHQQ", b"II", 43, 0, 0, 16, 10**6)
    with pytest.raises(PictureError, match="TIFF"):
        decode_image(tags[:16] + struct.pack("<Q", 10**6) + bytes(20 * 10**6), 10**6)
