"""Decoding, the tutorial's selection, and drawing."""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from barevision.detection.network_input import to_blob
from barevision.detection.selection import Selection, class_colors, select_detections
from barevision.errors import PictureError, PictureTooLargeError, SideTooLongError
from barevision.objects import Detection
from barevision.pictures import avif, decode, limits
from barevision.pictures.annotate import _draw_text, _place_tags, annotate
from barevision.pictures.decode import LARGEST_SIDES, decode_image, decode_reduced, encode_image


def encoded(image: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image[..., ::-1] if image.ndim == 3 else image).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_pictures_come_back_as_they_were(photo: np.ndarray, kind: str) -> None:
    np.testing.assert_array_equal(decode_image(encoded(photo, kind), 10**6), photo)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF", "AVIF"])
def test_other_formats_are_decoded(kind: str) -> None:
    grey = np.full((40, 60, 3), 128, np.uint8)
    image = decode_image(encoded(grey, kind), 10**6)
    assert image.shape == (40, 60, 3)
    np.testing.assert_allclose(image, 128, atol=3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_orientation_is_applied(kind: str) -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:20, :30] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode_image(encoded(picture, kind, quality=100, exif=exif), 10**6)
    assert turned.shape == (60, 40, 3)
    np.testing.assert_allclose(turned[:27, 23:], 255, atol=9)
    np.testing.assert_allclose(turned[33:], 0, atol=9)


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


def test_pixels_are_limited_by_the_header_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = b"IHDR" + struct.pack(">2I5B", 10_000, 10_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    bomb += png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(PictureTooLargeError, match="10000x10000 = 100000000 pixels, allowed are 50000000"):
        decode_image(bomb, 50_000_000)


def png_chunk(kind: bytes, content: bytes, length: int | None = None) -> bytes:
    length = len(content) if length is None else length
    return struct.pack(">I", length) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("length", [2**31 - 1, 2**32 - 13, 5])
def test_a_png_chunk_that_is_not_all_there_is_never_allocated(
    photo: np.ndarray, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    for position in (33, len(encoded(photo)) - 12):
        with pytest.raises(PictureError, match="damaged or cut short: chunk b'IDAT'"):
            decode_image(encoded(photo)[:position] + png_chunk(b"IDAT", b"", length), 10**6)


def test_a_png_ends_with_its_last_chunk_whatever_follows(photo: np.ndarray) -> None:
    data = encoded(photo)
    np.testing.assert_array_equal(decode_image(data + b"more" + bytes(100), 10**6), photo)
    with pytest.raises(PictureError, match="ends before its last chunk"):
        decode_image(data[:-12], 10**6)


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


def with_scans(data: bytes, count: int) -> bytes:
    """The progressive JPEG file `data` with its last scan `count` times more."""
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def test_jpeg_scans_are_counted_and_what_only_looks_like_one_is_not(photo: np.ndarray) -> None:
    data = encoded(photo, "JPEG", progressive=True)
    with pytest.raises(PictureError, match="more than 100 progressive scans"):
        decode_image(with_scans(data, 101), 10**6)
    np.testing.assert_array_equal(decode_image(data + b"\xff\xda" * 500, 10**6), decode_image(data, 10**6))
    comment = b"\xff\xfe" + struct.pack(">H", 1002) + b"\xff\xda" * 500
    np.testing.assert_array_equal(decode_image(data[:2] + comment + data[2:], 10**6), decode_image(data, 10**6))


def test_jpeg_segments_are_counted(photo: np.ndarray) -> None:
    data = with_scans(encoded(photo, "JPEG", progressive=True), 101)
    with pytest.raises(PictureError, match="more than 10000 JPEG segments"):
        decode_image(data[:2] + b"\xff\xfe\0\2" * 10_000 + data[2:], 10**6)


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


@pytest.mark.parametrize("extension", LARGEST_SIDES)
def test_a_side_that_a_format_cannot_hold_is_refused_and_the_longest_is_not(extension: str) -> None:
    longest = LARGEST_SIDES[extension]
    assert encode_image(np.zeros((1, longest, 3), np.uint8), extension)
    with pytest.raises(SideTooLongError, match=f"{longest + 1}x1 pixels, but .* may have {longest} a side"):
        encode_image(np.zeros((1, longest + 1, 3), np.uint8), extension)


def test_encoding_comes_back(photo: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_image(encode_image(photo, ".png"), 10**6), photo)


def test_the_blob_is_stretched_rgb() -> None:
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, :10] = (255, 0, 51)
    blob = to_blob(image, (4, 8))
    assert blob.shape == (1, 3, 4, 8)
    np.testing.assert_allclose(blob[0, :, 0, 0], [0.2, 0, 1], atol=1e-6)
    np.testing.assert_allclose(blob[0, :, 0, -1], 0)


LABELS = ["a", "b", "c", "d", "e"]


def tutorial_selection(rows: np.ndarray, size: tuple[int, int], confidence: float, nms: float) -> list[tuple]:
    """The tutorial's loop, row by row."""
    height, width = size
    boxes, confidences, class_ids = [], [], []
    for row in rows:
        class_id = int(np.argmax(row[4:]))
        if row[4 + class_id] > confidence:
            centre_x, centre_y, w, h = (row[:4] * np.array([width, height, width, height])).astype("int")
            boxes.append([int(centre_x - w / 2), int(centre_y - h / 2), int(w), int(h)])
            confidences.append(float(row[4 + class_id]))
            class_ids.append(class_id)
    kept = cv2.dnn.NMSBoxes(boxes, confidences, confidence, nms)
    return [(LABELS[class_ids[i]], round(confidences[i], 6), tuple(boxes[i])) for i in np.array(kept, int).ravel()]


@pytest.mark.parametrize("seed", range(20))
def test_the_selection_is_the_tutorials(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.random((300, 9), np.float32)
    rows[:, 2:4] *= 0.5
    found = select_detections(rows, (333, 517), LABELS, Selection(0.5, 0.3))
    expected = tutorial_selection(rows, (333, 517), 0.5, 0.3)
    assert [(item.label, item.confidence, item.box) for item in found] == expected
    assert len(found) > 3
    assert [item.confidence for item in found] == sorted((item.confidence for item in found), reverse=True)


def test_overlapping_boxes_of_two_classes_suppress_each_other() -> None:
    rows = np.array([[0.5, 0.5, 0.4, 0.4, 0.9, 0], [0.5, 0.5, 0.4, 0.42, 0, 0.8]], np.float32)
    assert [item.label for item in select_detections(rows, (100, 100), LABELS, Selection(0.5, 0.3))] == ["a"]
    assert [item.label for item in select_detections(rows, (100, 100), LABELS, Selection(0.5, 0.99))] == ["a", "b"]


def test_within_its_class_a_box_is_suppressed_all_the_same() -> None:
    rows = np.array(
        [[0.5, 0.5, 0.4, 0.4, 0, 0.7], [0.5, 0.5, 0.4, 0.42, 0.8, 0], [0.5, 0.5, 0.41, 0.4, 0, 0.9]], np.float32
    )
    found = select_detections(rows, (100, 100), LABELS, Selection(per_class_nms=True))
    assert [(item.label, round(item.confidence, 1)) for item in found] == [("b", 0.9), ("a", 0.8)]


def test_only_the_classes_asked_for_compete() -> None:
    rows = np.array([[0.5, 0.5, 0.4, 0.4, 0.9, 0.8], [0.5, 0.5, 0.4, 0.42, 0, 0.6]], np.float32)
    found = select_detections(rows, (100, 100), LABELS, Selection(classes=frozenset(["b"])))
    assert [(item.label, round(item.confidence, 1)) for item in found] == [("b", 0.6)]
    assert select_detections(rows, (100, 100), LABELS, Selection(classes=frozenset())) == []


def test_the_limit_keeps_the_most_confident() -> None:
    rows = np.array([[x / 10, 0.5, 0.05, 0.05, 0.55 + x / 30] for x in range(10)], np.float32)
    found = select_detections(rows, (100, 100), LABELS, Selection(limit=3))
    assert [item.box[0] for item in found] == [87, 77, 67]


def test_nothing_above_the_confidence() -> None:
    assert select_detections(np.full((10, 6), 0.4, np.float32), (100, 100), LABELS, Selection(0.5, 0.3)) == []


def test_infinite_boxes_do_no_harm() -> None:
    rows = np.array([[0.5, 0.5, np.inf, 0.4, 0.9, 0], [np.nan, 0.5, 0.1, 0.1, 0.8, 0]], np.float32)
    assert {item.label for item in select_detections(rows, (100, 100), LABELS, Selection(0.5, 0.3))} == {"a"}


def test_a_flood_of_candidates_is_cut_to_the_best() -> None:
    random = np.random.default_rng(0)
    rows = random.random((20_000, 5), np.float32)
    rows[:, 2:4] *= 0.001
    found = select_detections(rows, (10_000, 10_000), LABELS, Selection(0.0, 0.3))
    assert len(found) <= 3000
    assert found[0].confidence == round(float(rows[:, 4].max()), 6)


def test_colours_are_the_tutorials() -> None:
    np.random.seed(42)
    expected = np.random.randint(0, 255, size=(80, 3))
    np.testing.assert_array_equal(class_colors(80), expected)


def test_annotations_leave_the_picture_alone_and_draw_on_a_copy(photo: np.ndarray) -> None:
    before = photo.copy()
    drawn = annotate(photo, [tag("traffic light", [-10, 20, 80, 60])])
    np.testing.assert_array_equal(photo, before)
    assert drawn.shape == photo.shape
    np.testing.assert_array_equal(drawn[80, 30], [10, 200, 30])
    assert (drawn == (10, 200, 30)).all(axis=2).sum() > 500
    np.testing.assert_array_equal(annotate(photo, []), photo)


def tag(label: str, box: list[int], confidence: float = 0.9) -> Detection:
    return Detection(tuple(box), (10, 200, 30), label, confidence)


@pytest.mark.parametrize("label", ["světlý", "дорожный знак", "σήμα", "信号機", "신호등"])
def test_labels_are_drawn_in_other_scripts_than_latin(label: str) -> None:
    picture = np.zeros((300, 400, 3), np.uint8)
    unknown = annotate(picture, [tag("?" * len(label), [50, 50, 200, 200])])
    assert (annotate(picture, [tag(label, [50, 50, 200, 200])])[20:50] != unknown[20:50]).sum() > 100


@pytest.mark.parametrize("size", [(32, 32), (48, 64), (20_000, 60), (60, 20_000), (3000, 4000), (1, 1), (5, 3000)])
def test_pictures_of_any_size_are_annotated(size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 128, np.uint8)
    height, width = size
    boxes = [[width // 4, height // 4, width // 2, height // 2], [-10, -10, width + 20, height + 20], [0, 0, 2**30, 9]]
    drawn = annotate(picture, [tag("a very long label of a class " * 9, box) for box in boxes])
    assert drawn.shape == picture.shape
    assert (drawn != picture).any()


def test_lines_and_labels_grow_with_the_picture() -> None:
    coloured = []
    for factor in (1, 4):
        picture = np.zeros((480 * factor, 640 * factor, 3), np.uint8)
        drawn = annotate(picture, [tag("dog", [100 * factor, 100 * factor, 200 * factor, 200 * factor])])
        coloured.append((drawn == (10, 200, 30)).all(axis=2).sum() / (480 * 640 * factor**2))
    assert coloured[1] == pytest.approx(coloured[0], rel=0.2)


def test_labels_are_clear_of_each_other_and_the_surest_ones_are_always_there() -> None:
    picture, random = np.zeros((480, 640, 3), np.uint8), np.random.default_rng(3)
    corners = random.integers(0, 400, (300, 2)).tolist()
    predictions = [tag("person", [x, y, 40, 60], 0.99 - number / 400) for number, (x, y) in enumerate(corners)]
    tags = _place_tags(picture.shape[:2], predictions, 15, 2)
    assert 15 < len(tags) < 100
    area = np.zeros(picture.shape[:2], int)
    for item in tags:
        height, width = item.pixels.shape[:2]
        region = area[item.top : item.top + height, item.left : item.left + width]
        assert region.shape == (height, width)
        region += 1
    assert (area > 1).sum() < 0.02 * (area > 0).sum()
    assert (area > 0).mean() < 0.34
    best = _draw_text(cv2.FontFace("sans"), predictions[0], 15, 300)
    np.testing.assert_array_equal(tags[0].pixels, best)


def test_a_label_that_is_too_long_is_cut_and_stays_on_one_line() -> None:
    font = cv2.FontFace("sans")
    assert _draw_text(font, tag("traffic light", [0, 0, 9, 9]), 11, 60).shape[1] <= 60
    assert _draw_text(font, tag("traffic light", [0, 0, 9, 9]), 11, 10) is None
    lines = _draw_text(font, tag("traffic\n\tlight", [0, 0, 9, 9]), 11, 500)
    np.testing.assert_array_equal(lines, _draw_text(font, tag("traffic light", [0, 0, 9, 9]), 11, 500))


def test_threads_draw_the_same_labels(photo: np.ndarray) -> None:
    def draw(_: int) -> bytes:
        return annotate(photo, [tag("дорога 信号", [10, 30, 60, 50])]).tobytes()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(draw, range(200)))) == 1


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_tiffs_of_other_samples_than_8_and_16_bits_are_refused_in_words(
    dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = cv2.imencode(".tiff", np.ones((40, 60), dtype))[1].tobytes()
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(PictureError, match=r"save it with 8 or 16 bits each|no picture in one of these formats"):
        decode_image(data, 10**6)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF"])
def test_sides_are_limited_by_the_header_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(np.zeros((8, 2000, 3), np.uint8), kind)
    assert decode_image(data, 16_000, 2000).shape == (8, 2000, 3)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(PictureTooLargeError, match="2000x8 = 16000 pixels, allowed are 15999"):
        decode_image(data, 15_999)
    with pytest.raises(SideTooLongError, match="2000x8 pixels, allowed are 1999 a side"):
        decode_image(data, 16_000, 1999)


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


def test_texts_and_profiles_never_reach_the_decoder(photo: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    data = encoded(photo)
    bad = b"\0\0\0\0tEXt" + struct.pack(">I", zlib.crc32(b"tEXt"))
    np.testing.assert_array_equal(decode_image(data[:33] + bad * 1000 + data[33:], 10**6), photo)
    assert capfd.readouterr().err == ""


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


def announced(data: bytes, width: int, height: int) -> bytes:
    """The AVIF file `data` with another size in its header."""
    start = data.index(b"ispe") + 8
    return data[:start] + struct.pack(">2I", width, height) + data[start + 8 :]


def test_an_avif_whose_frame_is_larger_than_its_header_says_is_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(np.zeros((1500, 2000, 3), np.uint8), "AVIF")
    assert decode_image(data, 3_000_000).shape == (1500, 2000, 3)
    monkeypatch.setattr(decode, "_decode_avif", lambda *_: pytest.fail("decoded"))
    with pytest.raises(PictureTooLargeError, match="2400 pixels by its header, but its AV1 frames up to 3000000"):
        decode_image(announced(data, 60, 40), 50_000_000)
    with pytest.raises(PictureTooLargeError, match="3000000 pixels, allowed are 2999999"):
        decode_image(data, 2_999_999)


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
