"""How images are fitted to a network's input."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from barevision.detection.network_input import to_blob, to_image_rows
from barevision.detection.network_output import Fit


def test_letterboxed_images_are_scaled_and_framed_in_grey() -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    image[..., 2] = 255
    blob = to_blob(image, (64, 96), "letterbox")
    assert blob.shape == (1, 3, 64, 96)
    # Scaled by 8/15 to 64x85; half of the other 11 columns are at the left.
    left, right = 5, 90
    np.testing.assert_allclose(blob[0, :, :, left:right], np.array([1, 0, 0])[:, None, None] * np.ones((64, 85)))
    for frame in (blob[0, :, :, :left], blob[0, :, :, right:]):
        np.testing.assert_allclose(frame, np.full_like(frame, 114 / 255))


@pytest.mark.parametrize(
    ("image_size", "inner", "corner"),
    [
        # 64 * 160 // 120 = 85 of 96 columns, (96 - 85) // 2 of grey at the left.
        ((120, 160), (64, 85), (0, 5)),
        # 96 * 124 // 207 = 57 of 64 rows, where 57.5 would be rounded to 58; (64 - 57) // 2 above.
        ((124, 207), (57, 96), (3, 0)),
        ((64, 96), (64, 96), (0, 0)),
    ],
)
def test_darknet_rounds_down_and_frames_in_the_middle_grey(
    image_size: tuple[int, int], inner: tuple[int, int], corner: tuple[int, int]
) -> None:
    """letterbox_image in Darknet's image.c."""
    blob = to_blob(np.full((*image_size, 3), (0, 0, 255), np.uint8), (64, 96), "darknet-letterbox")
    expected = np.full((1, 3, 64, 96), 0.5, np.float32)
    (height, width), (top, left) = inner, corner
    expected[:, :, top : top + height, left : left + width] = np.array([1, 0, 0])[:, None, None]
    np.testing.assert_allclose(blob, expected)


@pytest.mark.parametrize("image_size", [(120, 160), (119, 200), (300, 100), (64, 96), (1, 4096)])
def test_boxes_come_back_as_from_darknet(image_size: tuple[int, int]) -> None:
    """correct_yolo_boxes in Darknet's yolo_layer.c, number by number."""
    rows = np.random.default_rng(0).random((4, 7), np.float32)
    expected = []
    h, w, net_h, net_w = *image_size, 64, 96
    new_w, new_h = (net_w, h * net_w // w) if net_w / w < net_h / h else (w * net_h // h, net_h)
    new_h = max(new_h, 1)
    for x, y, width, height, *scores in rows:
        x = (x - (net_w - new_w) / 2 / net_w) / (new_w / net_w)
        y = (y - (net_h - new_h) / 2 / net_h) / (new_h / net_h)
        expected.append([x, y, width * net_w / new_w, height * net_h / new_h, *scores])
    np.testing.assert_allclose(to_image_rows(rows, image_size, (64, 96), "darknet-letterbox"), expected, rtol=1e-5)


@pytest.mark.parametrize("fit", ["letterbox", "darknet-letterbox"])
def test_a_line_of_one_pixel_does_not_vanish(fit: Fit) -> None:
    blob = to_blob(np.zeros((1, 4096, 3), np.uint8), (64, 96), fit)
    assert blob.shape == (1, 3, 64, 96)
    assert (blob == 0).sum() == 3 * 96


def test_a_stretched_image_needs_no_mapping_back() -> None:
    rows = np.random.default_rng(0).random((4, 7), np.float32)
    assert to_image_rows(rows, (120, 160), (64, 96), "stretch") is rows


@pytest.mark.parametrize("image_size", [(480, 640), (64, 96), (37, 1001)])
def test_the_blob_is_opencvs_to_the_last_bit(image_size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*image_size, 3), np.uint8)
    theirs = cv2.dnn.blobFromImage(image, 1 / 255, (96, 64), swapRB=True, crop=False)
    np.testing.assert_array_equal(to_blob(image, (64, 96), "stretch"), theirs)


def test_the_blob_is_stretched_rgb() -> None:
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, :10] = (255, 0, 51)
    blob = to_blob(image, (4, 8), "stretch")
    assert blob.shape == (1, 3, 4, 8)
    np.testing.assert_allclose(blob[0, :, 0, 0], [0.2, 0, 1], atol=1e-6)
    np.testing.assert_allclose(blob[0, :, 0, -1], 0)
