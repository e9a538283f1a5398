"""AVIF: what its header says against what its frames take."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from barevision.errors import PictureError, PictureTooLargeError
from barevision.pictures import avif, decode
from barevision.pictures.decode import decode_image
from tests.support.pictures import encoded


def announced(data: bytes, width: int, height: int) -> bytes:
    """The AVIF file `data` with another size in its header."""
    start = data.index(b"ispe") + 8
    return data[:start] + struct.pack(">2I", width, height) + data[start + 8 :]


def test_an_avif_whose_frame_is_larger_than_its_header_says_is_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(np.zeros((1500, 2000, 3), np.uint8), "AVIF")
    assert decode_image(data, 3_000_000).shape == (1500, 2000, 3)
    monkeypatch.setattr(decode, "_decode_by_pillow", lambda *_: pytest.fail("decoded"))
    with pytest.raises(PictureTooLargeError, match="2400 pixels by its header, but its AV1 frames up to 3000000"):
        decode_image(announced(data, 60, 40), 50_000_000)
    with pytest.raises(PictureTooLargeError, match="3000000 pixels, allowed are 2999999"):
        decode_image(data, 2_999_999)


def with_box(data: bytes, kind: bytes, content: bytes) -> bytes:
    """The AVIF file `data` with another box of its `kind` inside `meta`."""
    meta, start = data.index(b"meta") - 4, data.index(kind) - 4
    (size,) = struct.unpack_from(">I", data, start)
    box = struct.pack(">I", len(content) + 8) + kind + content
    length = struct.unpack_from(">I", data, meta)[0] + len(box) - size
    return data[:meta] + struct.pack(">I", length) + data[meta + 4 : start] + box + data[start + size :]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (b"iinf", b"\0\0\0\0\x0f\xa0" + b"\0\0\0\x15infe\2\0\0\0\0\1\0\0av01\0" * 4000),
        (b"iloc", b"\0\0\0\0\x44\0\xea\x60" + b"\0\2\0\0\0\0" * 60_000),
    ],
    ids=["names", "places"],
)
def test_an_avif_of_thousands_of_items_is_never_opened(
    kind: bytes, content: bytes, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(photo, "AVIF")
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(PictureError, match="more than 32768 bytes of AVIF items"):
        decode_image(with_box(data, kind, content), 10**6)


def test_an_avif_of_many_containers_is_refused_at_the_second(
    photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(photo, "AVIF")
    start = data.index(b"meta") - 4
    (size,) = struct.unpack_from(">I", data, start)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(PictureError, match="several boxes meta"):
        decode_image(data[: start + size] * 2 + data[start + size :], 10**6)


def test_avif_items_that_overlap_are_limited_in_their_sum(photo: np.ndarray) -> None:
    data = encoded(photo, "AVIF")
    names = b"".join(
        struct.pack(">I4s4B2H4sB", 21, b"infe", 2, 0, 0, 0, number, 0, b"av01", 0) for number in range(1, 41)
    )
    places = b"".join(struct.pack(">HHH2I", number, 0, 1, 0, len(data) // 4) for number in range(1, 41))
    many = with_box(data, b"iinf", struct.pack(">IH", 0, 40) + names)
    many = with_box(many, b"iloc", struct.pack(">IBBH", 0, 0x44, 0, 40) + places)
    with pytest.raises(PictureError, match="frames are larger than its file"):
        avif.check_avif_frames(many, 10**6, 10**6)


def test_whole_avifs_are_what_their_headers_say() -> None:
    picture = np.full((300, 400, 3), 90, np.uint8)
    through = Image.fromarray(np.dstack([picture, np.full((300, 400), 255, np.uint8)]))
    for image in (Image.fromarray(picture), through):
        for options in ({}, {"save_all": True, "append_images": [image]}, {"subsampling": "4:4:4"}, {"speed": 10}):
            file = io.BytesIO()
            image.save(file, "AVIF", **options)
            np.testing.assert_allclose(decode_image(file.getvalue(), 200_000), 90, atol=3)


@pytest.mark.parametrize("bits", [10, 12])
def test_avifs_of_more_bits_are_scaled(bits: int) -> None:
    deep = np.full((40, 60, 3), 2**bits * 200 // 256, np.uint16)
    data = cv2.imencode(".avif", deep, [cv2.IMWRITE_AVIF_DEPTH, bits])[1].tobytes()
    np.testing.assert_allclose(decode_image(data, 10**6), 200, atol=2)


@pytest.mark.parametrize(
    ("reduced", "expected"),
    [
        # Profile 0, still, reduced, level 0, 10 and 9 bits, 1000x500.
        ("000 1 1 00000 1001 1000 1111100111 111110011", (1000, 500, 500_000)),
        # Not reduced: no timing, no delay, one operating point; a frame may be as large as its bits allow.
        ("000 0 0 0 0 00000 000000000000 00001 1001 1000 1111100111 111110011", (1000, 500, 2**19)),
        # The same with timing, a decoder model, and a level above 7.
        (
            f"000 0 0 1 {'0' * 64} 1 00100 1 00001 {'0' * 42} 1 00000 {'0' * 12} 01000 1 1 11111 1 1111"
            " 1001 1000 1111100111 111110011",
            (1000, 500, 2**19),
        ),
    ],
    ids=["reduced", "full", "full with timing"],
)
def test_av1_sequence_headers_are_read_to_the_size(reduced: str, expected: tuple[int, int, int]) -> None:
    bits = reduced.replace(" ", "")
    bits += "0" * (-len(bits) % 8)
    unit = memoryview(int(bits, 2).to_bytes(len(bits) // 8, "big"))
    frame = avif._sequence_header(unit)
    assert (frame.width, frame.height, frame.largest) == expected
    with pytest.raises(IndexError):
        avif._sequence_header(unit[: len(unit) // 2])
