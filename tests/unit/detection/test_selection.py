"""Which of a network's rows are answered: the tutorial's selection, and what may be asked beyond it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from barevision.detection.selection import Selection, class_colors, clip, select_detections
from barevision.objects import Detection

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
    expected = np.random.randint(0, 255, size=(80, 3), dtype="uint8")
    np.testing.assert_array_equal(class_colors(80), expected)
    assert class_colors(80)[14] == (239, 39, 214)


def test_clipped_boxes_end_with_the_image() -> None:
    assert clip(Detection((-5, 10, 20, 200), (0, 0, 0), "dog", 0.5), (120, 160)).box == (0, 10, 15, 110)
    assert clip(Detection((10, 20, 30, 40), (0, 0, 0), "dog", 0.5), (120, 160)).box == (10, 20, 30, 40)
    assert clip(Detection((170, 20, 30, 40), (0, 0, 0), "dog", 0.5), (120, 160)).box == (160, 20, 0, 40)
