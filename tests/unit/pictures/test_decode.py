"""Encoded pictures of every format to upright images of three channels, and back."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from barevision.errors import PictureError, PictureTooLargeError, SideTooLongError
from barevision.pictures.decode import LARGEST_SIDES, decode_image, decode_reduced, encode_image
from tests.support.pictures import PALETTE, encoded, gif, palette_bmp, tiff


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


@pytest.mark.parametrize(
    ("options", "while_decoding"), [({}, 40 * 30), ({"progressive": True}, 320 * 240), ({"quality": 30}, 40 * 30)]
)
def test_a_reduced_jpeg_takes_the_memory_of_a_small_picture(options: dict, while_decoding: int) -> None:
    file, held = io.BytesIO(), []
    Image.new("RGB", (320, 240), "red").save(file, "JPEG", **options)
    decode_reduced(file.getvalue(), 10**6, least=(30, 40), hold_pixels=held.append)
    assert held == [while_decoding, 40 * 30]
    held.clear()
    decode_reduced(file.getvalue(), 10**6, hold_pixels=held.append)
    assert held == [320 * 240, 320 * 240]


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


#: Numbers of `PALETTE`: its last colour is on the right.
NUMBERS = np.tile(np.arange(62) * 4 // 62, (41, 1))
COLOURED = np.array(PALETTE, np.uint8)[NUMBERS][..., ::-1]


@pytest.mark.parametrize("header", [12, 40, 52, 56, 64, 108, 124])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_bmps_with_a_palette_are_what_viewers_show(header: int, bits: int) -> None:
    numbers = np.minimum(NUMBERS, 2**bits - 1)
    np.testing.assert_array_equal(
        decode_image(palette_bmp(numbers, bits, header), 10**6), np.array(PALETTE, np.uint8)[numbers][..., ::-1]
    )


@pytest.mark.parametrize("bits", [4, 8])
def test_bmps_of_run_lengths_are_decoded_and_limited_to_what_python_can_read(bits: int) -> None:
    data = palette_bmp(NUMBERS, bits, 40, run_lengths=True)
    np.testing.assert_array_equal(decode_image(data, 10**6), COLOURED)
    with pytest.raises(PictureTooLargeError, match="62x41 pixels as run lengths, allowed are 2500"):
        decode_image(data, 20_000)


def test_rows_of_a_bmp_need_no_filling_at_the_end() -> None:
    data = palette_bmp(NUMBERS, 8, 40)
    np.testing.assert_array_equal(decode_image(data[:-2], 10**6), COLOURED)
    with pytest.raises(PictureError, match="can't be decoded"):
        decode_image(data[:-3], 10**6)


@pytest.mark.parametrize(("bits", "kind"), [(8, "<u1"), (16, "<u2")])
@pytest.mark.parametrize(("space", "shown"), [(0, 255), (1, 0)], ids=["white is zero", "black is zero"])
def test_a_grey_tiff_says_what_zero_is(bits: int, kind: str, space: int, shown: int) -> None:
    pixels = np.zeros((10, 8), kind)
    pixels[5:] = 2**bits - 1
    tags = {256: [8], 257: [10], 258: [bits], 259: [1], 262: [space], 277: [1], 278: [10], 279: [pixels.nbytes]}
    image = decode_image(tiff(tags, pixels.tobytes()), 10**6)
    assert (image[:5] == shown).all()
    assert (image[5:] == 255 - shown).all()


@pytest.mark.parametrize("background", [0, 3, 200])
def test_a_gif_s_background_is_not_looked_up(background: int) -> None:
    np.testing.assert_array_equal(decode_image(gif(NUMBERS, (62, 41), background=background), 10**6), COLOURED)


def test_what_a_gif_s_first_image_does_not_cover_is_white() -> None:
    image = decode_image(gif(NUMBERS, (100, 60), left=10, top=5), 10**6)
    assert image.shape == (60, 100, 3)
    np.testing.assert_array_equal(image[5:46, 10:72], COLOURED)
    image[5:46, 10:72] = 255
    assert (image == 255).all()


def test_a_gif_is_as_large_as_its_first_image() -> None:
    data = gif(NUMBERS, (10, 10), left=3, top=2)
    assert decode_image(data, 10**6).shape == (43, 65, 3)
    with pytest.raises(PictureTooLargeError, match="65x43 = 2795 pixels"):
        decode_image(data, 2794)


def test_a_gif_needs_no_end() -> None:
    data = gif(NUMBERS, (62, 41))
    for missing in (1, 2):
        np.testing.assert_array_equal(decode_image(data[:-missing], 10**6), COLOURED)
    with pytest.raises(PictureError, match="can't be decoded"):
        decode_image(data[: len(data) // 2], 10**6)
    with pytest.raises(PictureError, match="ends before its first image"):
        decode_image(data[:30], 10**6)


@pytest.mark.parametrize("length", [0, 1, -1, -9, -16, 2**32 - 1])
@pytest.mark.parametrize("lossless", [False, True])
def test_the_length_that_a_webp_begins_with_does_not_matter(photo: np.ndarray, length: int, lossless: bool) -> None:
    data = encoded(photo, "WEBP", lossless=lossless)
    said = length if length >= 0 else len(data) + length
    written = data[:4] + struct.pack("<I", said) + data[8:]
    for more in (b"", b"more behind it"):
        np.testing.assert_array_equal(decode_image(written + more, 10**6), decode_image(data, 10**6))
    with pytest.raises(PictureError):
        decode_image(written[: len(data) // 2], 10**6)


#: Format, mode and options.
PILLOW_KINDS = [
    *(("PNG", mode, {}) for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "I;16")),
    *(("BMP", mode, {}) for mode in ("1", "L", "P", "RGB", "RGBA")),
    *(
        ("TIFF", mode, {"compression": compression})
        for compression in ("raw", "tiff_lzw", "tiff_deflate", "packbits")
        for mode in ("1", "L", "P", "RGB", "RGBA", "RGBX", "LA", "CMYK", "I;16")
    ),
    ("TIFF", "YCbCr", {"compression": "raw"}),
    ("TIFF", "LAB", {"compression": "raw"}),
    ("TIFF", "1", {"compression": "group4"}),
    ("TIFF", "RGB", {"tiffinfo": {317: 2}, "compression": "tiff_lzw"}),
    *(("GIF", mode, {"interlace": interlace}) for mode in ("1", "L", "P", "RGB", "RGBA") for interlace in (0, 1)),
    *(("WEBP", mode, {"lossless": True, "exact": True}) for mode in ("RGB", "RGBA", "L")),
]


@pytest.mark.parametrize(("kind", "mode", "options"), PILLOW_KINDS, ids=str)
def test_every_kind_that_pillow_writes_is_the_picture_that_it_reads(kind: str, mode: str, options: dict) -> None:
    coloured = Image.fromarray(COLOURED[..., ::-1])
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(coloured.convert("L")).astype(np.uint16) * 257)
    elif mode == "LAB":
        picture = ImageCms.profileToProfile(
            coloured, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
    else:
        picture = coloured.convert(mode)
    if mode in ("RGBA", "LA"):
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    file = io.BytesIO()
    picture.save(file, kind, **options)
    with Image.open(file) as opened:
        shown = Image.new("RGBA", opened.size, "white")
        if not opened.mode.startswith("I;16"):
            shown.alpha_composite(opened.convert("RGBA"))
        expected = np.asarray(shown.convert("RGB"))[..., ::-1]
        if opened.mode.startswith("I;16"):
            expected = np.dstack([np.asarray(opened) >> 8] * 3)
    np.testing.assert_allclose(decode_image(file.getvalue(), 10**6).astype(int), expected, atol=2)


@pytest.mark.parametrize(
    ("extension", "dtype"), [*((end, np.uint8) for end in (".png", ".bmp", ".tiff", ".webp")), (".png", np.uint16)]
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_kind_that_opencv_writes_comes_back(extension: str, dtype: type, channels: int) -> None:
    image = COLOURED[..., :1] if channels == 1 else COLOURED
    if channels == 4:
        image = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    options = [cv2.IMWRITE_WEBP_QUALITY, 101] if extension == ".webp" else []
    data = cv2.imencode(extension, image.astype(dtype) * (257 if dtype == np.uint16 else 1), options)[1].tobytes()
    expected = np.broadcast_to(image[..., :3], COLOURED.shape)
    np.testing.assert_allclose(decode_image(data, 10**6).astype(int), expected.astype(int), atol=1)


def test_encoding_comes_back(photo: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_image(encode_image(photo, ".png"), 10**6), photo)
