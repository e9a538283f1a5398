"""JPEGs without their end: what is whole is answered, what is cut is refused, whatever its last bytes are."""

from __future__ import annotations

import numpy as np
import pytest

from barevision.errors import PictureError
from barevision.pictures.decode import decode_image, decode_reduced
from tests.support.pictures import encoded

END = b"\xff\xd9"
KINDS = [
    {},
    {"quality": 95, "subsampling": 0},
    {"progressive": True},
    {"restart_marker_blocks": 5},
    {"restart_marker_blocks": 5, "progressive": True},
]


def jpeg(photo: np.ndarray, options: dict) -> bytes:
    return encoded(photo, "JPEG", **options)


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
def test_a_jpeg_without_its_end_mark_is_the_same_picture(photo: np.ndarray, options: dict, grey: bool) -> None:
    data = encoded(photo[..., 0] if grey else photo, "JPEG", **({} if grey else options))
    whole = decode_image(data, 10**6)
    for end in (b"", b"\xff", b"\0" * 100, b"\xff" * 5, b"\r\n", b"dhav\0\0\0\0"):
        np.testing.assert_array_equal(decode_image(data[:-2] + end, 10**6), whole)
        np.testing.assert_array_equal(decode_image(data + end, 10**6), whole)


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_a_few_bytes_more_may_be_missing(photo: np.ndarray, options: dict) -> None:
    data = jpeg(photo, options)
    whole = decode_image(data, 10**6).astype(int)
    for missing in (3, 4, 6, 10, 20):
        image = decode_image(data[:-missing], 10**6)
        np.testing.assert_array_equal(image[:-17], whole[:-17], err_msg=str(missing))


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_a_cut_jpeg_is_refused(photo: np.ndarray, options: dict, share: float) -> None:
    data = jpeg(photo, options)
    with pytest.raises(PictureError, match="cut short"):
        decode_image(data[: int(share * len(data))], 10**6)


@pytest.mark.parametrize("options", [options for options in KINDS if "progressive" not in options], ids=str)
def test_an_end_mark_makes_half_a_picture_no_whole_one(photo: np.ndarray, options: dict) -> None:
    data = jpeg(photo, options)
    for end in (END, END + b"more"):
        with pytest.raises(PictureError, match=r"cut short: the last \d+ of its 120 rows are missing"):
            decode_image(data[: len(data) // 2] + end, 10**6)


def test_the_rows_that_are_missing_are_counted_in_the_whole_picture() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (800, 640, 3), np.uint8)
    data = encoded(noise, "JPEG")
    with pytest.raises(PictureError, match=r"the last (3[89]\d|4[01]\d) of its 800 rows"):
        decode_reduced(data[: len(data) // 2], 10**6, least=(80, 80))


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_picture_that_ends_in_the_grey_of_missing_pixels_is_whole(options: dict) -> None:
    picture = np.full((200, 160, 3), 128, np.uint8)
    picture[:20] = 10
    data = encoded(picture, "JPEG", **options)
    np.testing.assert_allclose(decode_image(data, 10**6)[-1], 128, atol=1)
    np.testing.assert_array_equal(decode_image(data[:-2], 10**6), decode_image(data, 10**6))


def test_a_jpeg_that_lost_a_restart_mark_in_the_middle_is_answered(photo: np.ndarray) -> None:
    data = encoded(photo, "JPEG", restart_marker_blocks=5)
    start = data.index(b"\xff\xd2")
    assert decode_image(data[:start] + data[start + 2 :], 10**6).shape == photo.shape


def test_a_progressive_jpeg_that_ends_between_two_scans_is_cut(photo: np.ndarray) -> None:
    data = encoded(photo, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    tables = data.rindex(b"\xff\xc4", 0, last)
    with pytest.raises(PictureError, match="some of its scans are missing"):
        decode_image(data[:tables], 10**6)
