"""Detections drawn onto images."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from barevision.objects import Detection
from barevision.pictures.annotate import _draw_text, _place_tags, annotate

COLOUR = (10, 200, 30)


def tag(label: str, box: list[int], confidence: float = 0.9) -> Detection:
    return Detection(tuple(box), COLOUR, label, confidence)


def test_annotations_leave_the_picture_alone_and_draw_on_a_copy(photo: np.ndarray) -> None:
    before = photo.copy()
    drawn = annotate(photo, [tag("traffic light", [-10, 20, 80, 60])])
    np.testing.assert_array_equal(photo, before)
    assert drawn.shape == photo.shape
    np.testing.assert_array_equal(drawn[80, 30], COLOUR)
    assert (drawn == COLOUR).all(axis=2).sum() > 500
    np.testing.assert_array_equal(annotate(photo, []), photo)


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
    x, y, box_width, box_height = boxes[0]
    for row in (y, y + box_height):
        np.testing.assert_array_equal(drawn[row, x + box_width // 2], COLOUR)


def test_lines_and_labels_grow_with_the_picture() -> None:
    coloured = []
    for factor in (1, 4):
        picture = np.zeros((480 * factor, 640 * factor, 3), np.uint8)
        drawn = annotate(picture, [tag("dog", [100 * factor, 100 * factor, 200 * factor, 200 * factor])])
        coloured.append((drawn == COLOUR).all(axis=2).sum() / (480 * 640 * factor**2))
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
