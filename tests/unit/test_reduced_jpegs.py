"""Large JPEGs decoded at reduced scale: when, and that boxes are in pixels of the whole picture."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from barevision.detector import Detector
from barevision.models.catalogue import find_source
from barevision.objects import differences
from barevision.pictures.decode import decode_image, encode_image


@pytest.fixture(scope="module")
def large_photo() -> bytes:
    """The golden image, four times as large: a side of the network is a sixth of it."""
    image = decode_image(find_source("roadsigns").golden.picture, 10**6)
    return encode_image(cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), ".jpg")


@pytest.fixture(scope="module")
def keeping(roadsigns: Detector) -> Detector:
    return replace(roadsigns, settings=roadsigns.settings.model_copy(update={"reduce_jpegs": False}))


def test_boxes_are_those_of_the_whole_picture(roadsigns: Detector, large_photo: bytes) -> None:
    whole, reduced = roadsigns.answer(large_photo, full_size=True), roadsigns.answer(large_photo)
    assert min(reduced.image.shape[:2]) >= 2 * max(roadsigns.engine.input_size)
    assert reduced.image.shape[0] < whole.image.shape[0] / 1.9
    assert len(whole.detections) > 2
    largest = max(whole.image.shape[:2])
    assert differences(whole.detections, reduced.detections, pixels=largest / 100, confidence=0.05) == []


def test_only_where_it_is_set_and_no_picture_is_drawn(
    roadsigns: Detector, keeping: Detector, large_photo: bytes
) -> None:
    shape = decode_image(large_photo, 50_000_000).shape
    assert keeping.answer(large_photo).image.shape == shape
    assert roadsigns.answer(large_photo, full_size=True).image.shape == shape


def test_a_picture_of_less_than_four_times_the_network_is_left_alone(roadsigns: Detector) -> None:
    height, width = (4 * side - 1 for side in roadsigns.engine.input_size)
    data = encode_image(np.zeros((height, width, 3), np.uint8), ".jpg")
    assert roadsigns.answer(data).image.shape == (height, width, 3)
