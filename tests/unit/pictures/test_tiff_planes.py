"""TIFFs whose colours lie in planes of 16 bits."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from barevision.errors import PictureError
from barevision.pictures.decode import decode_image
from tests.support.pictures import tiff

TAGS = {256: [60], 257: [40], 262: [2], 284: [2]}


def planes(channels: int = 3, largest: int = 65535) -> np.ndarray:
    """uint16 (channels, 40, 60): red, green and blue that differ, and an opaque alpha."""
    ramps = [np.linspace(0, largest, 2400).reshape(40, 60).astype(np.uint16), np.full((40, 60), largest // 2)]
    ramps += [np.full((40, 60), largest // 5), np.full((40, 60), 65535)]
    return np.array(ramps[:channels], np.uint16)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8], ids=["plain", "deflated"])
@pytest.mark.parametrize("strips", [1, 4])
@pytest.mark.parametrize(("channels", "largest"), [(3, 65535), (4, 65535), (3, 4095)])
def test_planes_of_16_bits_are_what_they_are_interleaved(
    order: str, compression: int, strips: int, channels: int, largest: int
) -> None:
    colours = planes(channels, largest)
    pieces = [part.astype(f"{order}u2").tobytes() for plane in colours for part in np.split(plane, strips)]
    if compression == 8:
        pieces = [zlib.compress(piece) for piece in pieces]
    tags = {
        **TAGS,
        258: [16] * channels,
        259: [compression],
        277: [channels],
        278: [40 // strips],
        279: [len(piece) for piece in pieces],
    }
    if channels == 4:
        tags[338] = [2]
    image = decode_image(tiff(tags, b"".join(pieces), order), 10**6)
    np.testing.assert_allclose(image, np.moveaxis(colours[2::-1], 0, -1) / (largest / 255), atol=1)


def test_tiles_are_planes_too() -> None:
    colours = planes()
    wide = np.zeros((3, 48, 64), np.uint16)
    wide[:, :40, :60] = colours
    pieces = [
        tile.astype("<u2").tobytes() for plane in wide for row in np.split(plane, 3) for tile in np.split(row, 4, 1)
    ]
    tags = {**TAGS, 258: [16] * 3, 259: [1], 277: [3], 322: [16], 323: [16], 325: [len(piece) for piece in pieces]}
    image = decode_image(tiff(tags, b"".join(pieces)), 10**6)
    np.testing.assert_allclose(image, np.moveaxis(colours[::-1], 0, -1) >> 8, atol=1)


def test_planes_that_nobody_can_decode_are_refused() -> None:
    tags = {**TAGS, 258: [16] * 4, 259: [1], 262: [5], 277: [4], 278: [40], 279: [4800] * 4}
    with pytest.raises(PictureError, match=r"planes of 16 bits .*; save it as RGB"):
        decode_image(tiff(tags, planes(4).tobytes()), 10**6)
