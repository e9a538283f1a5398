"""Encoded pictures of every format to upright images of three channels, and back."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from barevision.errors import PictureError, SideTooLongError
from barevision.pictures.decode import LARGEST_SIDES, decode_image, decode_reduced, encode_image
from tests.support.pictures import encoded


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_pictures_come_back_as_they_were(photo: np.ndarray, kind: str) -> None:
    np.testing.assert_array_equal(decode_image(encoded(photo, kind), 10**6), photo)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF", "AVIF"])
def test_other_formats_are_decoded(kind: str) -> None:
    grey = np.full((40, 60, 3), 128, np.uint8)
    image = decode_image(encoded(grey, kind), 10**6)
    assert image.shape == (40, 60, 3)
    np.testing.assert_allclose(image, 128, atol=3)


@pytest.mark.parametrize(
    "data",
    [b"", b"xx", b"\xff\xd8\xff", b"<html></html>", b"\x89PNG\r\n\x1a\n" + bytes(30), b"GIF89a", b"%PDF-1.4"],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(PictureError):
        decode_image(data, 10**6)


def test_a_picture_cut_short_is_refused(photo: np.ndarray) -> None:
    data = encoded(photo, "JPEG")
    with pytest.raises(PictureError, match="damaged"):
        decode_image(data[: len(data) // 2], 10**6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_all_orientations_are_those_of_viewers(kind: str, orientation: int) -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:16, :20], picture[24:, 40:] = 255, 100
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture, kind, quality=100, exif=exif)
    with Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))[..., ::-1]
    np.testing.assert_allclose(decode_image(data, 10**6).astype(int), expected, atol=9)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_16_bit_tiff_is_turned_too(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    wide = np.zeros((40, 60), np.uint16)
    wide[:20, :30] = 65535
    file = io.BytesIO()
    Image.fromarray(wide).save(file, "TIFF", exif=exif)
    turned = wide if orientation == 1 else np.rot90(wide, -1)
    np.testing.assert_array_equal(decode_image(file.getvalue(), 10**6)[..., 0], turned >> 8)


def see_through(colour: tuple[int, int, int]) -> Image.Image:
    """RGBA: opaque on the left, half transparent in the middle, transparent on the right."""
    pixels = np.full((40, 60, 4), (*colour, 255), np.uint8)
    pixels[:, 20:40, 3], pixels[:, 40:, 3] = 128, 0
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True, "exact": True}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("AVIF", {"quality": 100}),
    ],
)
def test_what_is_transparent_is_white(kind: str, options: dict) -> None:
    file = io.BytesIO()
    see_through((200, 100, 50)).save(file, kind, **options)
    image = decode_image(file.getvalue(), 10**6)
    np.testing.assert_allclose(image[20, [5, 30, 55]], [[50, 100, 200], [152, 177, 227], [255, 255, 255]], atol=4)


def test_transparency_of_palettes_and_of_16_bits() -> None:
    through = see_through((200, 100, 50))
    for kind, picture in (("GIF", through), ("PNG", through.quantize(method=Image.Quantize.FASTOCTREE))):
        file = io.BytesIO()
        picture.save(file, kind)
        np.testing.assert_allclose(
            decode_image(file.getvalue(), 10**6)[20, [5, 55]], [[50, 100, 200], [255] * 3], atol=4
        )
    deep = np.full((40, 60, 4), (50 * 257, 100 * 257, 200 * 257, 65535), np.uint16)
    deep[:, 30:, 3] = 0
    for extension in (".png", ".tiff"):
        image = decode_image(cv2.imencode(extension, deep)[1].tobytes(), 10**6)
        np.testing.assert_allclose(image[20, [5, 55]], [[50, 100, 200], [255, 255, 255]], atol=1)


def test_a_bmp_whose_fourth_byte_nobody_filled_is_opaque() -> None:
    pixels = np.full((40, 60, 4), (50, 100, 200, 0), np.uint8)
    np.testing.assert_array_equal(decode_image(cv2.imencode(".bmp", pixels)[1].tobytes(), 10**6), pixels[..., :3])


@pytest.mark.parametrize("extension", [".png", ".tiff"])
@pytest.mark.parametrize(("bits", "value"), [(16, 51400), (14, 12850), (12, 3212), (10, 802), (8, 200)])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_scaled_by_the_bits_in_use(extension: str, bits: int, value: int, channels: int) -> None:
    pixels = np.full((40, 60, channels), value, np.uint16)
    pixels[0, 0] = 2**bits - 1
    image = decode_image(cv2.imencode(extension, pixels)[1].tobytes(), 10**6)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image[20, 30], 200, atol=1)


@pytest.mark.parametrize(
    ("kind", "modes"),
    [
        ("JPEG", ["1", "L", "CMYK", "YCbCr"]),
        ("PNG", ["1", "L", "LA", "P"]),
        ("WEBP", ["L"]),
        ("BMP", ["1", "L", "P"]),
        ("TIFF", ["1", "L", "LA", "P", "CMYK", "YCbCr"]),
        ("GIF", ["1", "L", "P"]),
        ("AVIF", ["L"]),
    ],
)
def test_every_mode_of_every_format_has_three_channels(kind: str, modes: list[str]) -> None:
    picture = Image.new("RGB", (60, 40), (255, 255, 255))
    picture.paste((0, 0, 0), (0, 0, 30, 40))
    for mode in modes:
        file = io.BytesIO()
        picture.convert(mode).save(file, kind)
        image = decode_image(file.getvalue(), 10**6)
        assert image.shape == (40, 60, 3)
        np.testing.assert_allclose(image[20, [10, 50]], [[0, 0, 0], [255, 255, 255]], atol=6, err_msg=mode)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("least", "factor"),
    [((100, 100), 8), ((100, 101), 4), ((101, 100), 4), ((400, 400), 2), ((401, 401), 1), ((1, 1), 8)],
)
def test_a_large_jpeg_is_reduced_to_what_is_wanted_and_says_its_full_size(
    orientation: int, least: tuple[int, int], factor: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(np.full((800, 807, 3), 90, np.uint8), "JPEG", exif=exif)
    image, size = decode_reduced(data, 10**6, least=least)
    full = (800, 807) if orientation == 1 else (807, 800)
    assert size == full
    assert image.shape == (-(-full[0] // factor), -(-full[1] // factor), 3)


def test_other_formats_are_never_reduced(photo: np.ndarray) -> None:
    image, size = decode_reduced(encoded(photo), 10**6, least=(1, 1))
    np.testing.assert_array_equal(image, photo)
    assert size == photo.shape[:2]


@pytest.mark.parametrize("extension", LARGEST_SIDES)
def test_a_side_that_a_format_cannot_hold_is_refused_and_the_longest_is_not(extension: str) -> None:
    longest = LARGEST_SIDES[extension]
    assert encode_image(np.zeros((1, longest, 3), np.uint8), extension)
    with pytest.raises(SideTooLongError, match=f"{longest + 1}x1 pixels, but .* may have {longest} a side"):
        encode_image(np.zeros((1, longest + 1, 3), np.uint8), extension)


def test_encoding_comes_back(photo: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_image(encode_image(photo, ".png"), 10**6), photo)
