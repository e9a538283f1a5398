"""How images are fitted to a network's input."""

from __future__ import annotations

import numpy as np

from barevision.detection.network_input import to_blob, to_image_rows


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


def test_a_line_of_one_pixel_does_not_vanish() -> None:
    assert to_blob(np.zeros((1, 4096, 3), np.uint8), (64, 96), "letterbox").shape == (1, 3, 64, 96)


def test_a_stretched_image_needs_no_mapping_back() -> None:
    rows = np.random.default_rng(0).random((4, 7), np.float32)
    assert to_image_rows(rows, (120, 160), (64, 96), "stretch") is rows


def test_the_blob_is_stretched_rgb() -> None:
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, :10] = (255, 0, 51)
    blob = to_blob(image, (4, 8), "stretch")
    assert blob.shape == (1, 3, 4, 8)
    np.testing.assert_allclose(blob[0, :, 0, 0], [0.2, 0, 1], atol=1e-6)
    np.testing.assert_allclose(blob[0, :, 0, -1], 0)
