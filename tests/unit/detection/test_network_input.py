"""How images are fitted to a network's input."""

from __future__ import annotations

import numpy as np

from barevision.detection.network_input import to_blob


def test_the_blob_is_stretched_rgb() -> None:
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, :10] = (255, 0, 51)
    blob = to_blob(image, (4, 8))
    assert blob.shape == (1, 3, 4, 8)
    np.testing.assert_allclose(blob[0, :, 0, 0], [0.2, 0, 1], atol=1e-6)
    np.testing.assert_allclose(blob[0, :, 0, -1], 0)
