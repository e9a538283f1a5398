"""The sections that detect, against Darknet's definition in NumPy, and what of them is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from barevision.darknet import boxes
from tests.support.darknet_files import TINY_CFG, build, build_section, error_of, error_with
from tests.support.onnx_files import run

YOLO = TINY_CFG[TINY_CFG.index("[yolo]") :]
REGION = """\
[region]
anchors = 0.5,0.7, 1.9,2.1
classes=2
coords=4
num=2
softmax=1
bias_match=1
absolute=1
thresh=.6
"""
#: What the section before answers: 2 anchors of 4 + 1 + 2 numbers for each of 8x16 cells.
SHAPE = (14, 8, 16)


@pytest.fixture
def raw() -> np.ndarray:
    """Numbers as after a logistic convolution, 0 to 1."""
    return np.random.default_rng(0).random((1, *SHAPE), np.float32)


def sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


def test_scale_x_y_lets_the_centre_leave_its_cell(raw: np.ndarray) -> None:
    plain = run(build_section(boxes.yolo, YOLO, SHAPE), raw)[0]
    wide = run(build_section(boxes.yolo, f"{YOLO}scale_x_y=2.0", SHAPE), raw)[0]
    column = np.arange(8 * 16 * 2) // 2 % 16
    row = np.arange(8 * 16 * 2) // 2 // 16
    for number, cells, cell in [(0, 16, column), (1, 8, row)]:
        in_cell = plain[:, number] * cells - cell
        np.testing.assert_allclose(wide[:, number] * cells - cell, 2 * in_cell - 0.5, atol=1e-4)
    np.testing.assert_array_equal(wide[:, 2:], plain[:, 2:])


def test_new_coords_takes_the_numbers_as_they_are_and_squares_the_size(raw: np.ndarray) -> None:
    rows = run(build_section(boxes.yolo, f"{YOLO}new_coords=1", SHAPE), raw)[0]
    expected = []
    for y in range(8):
        for x in range(16):
            for number, anchor in enumerate([(4, 6), (10, 12)]):
                t = raw[0, number * 7 : number * 7 + 7, y, x]
                size = (2 * t[2]) ** 2 * anchor[0] / 64, (2 * t[3]) ** 2 * anchor[1] / 32
                expected.append([(x + t[0]) / 16, (y + t[1]) / 8, *size, *(t[4] * t[5:])])
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)


def test_the_mask_chooses_anchors(raw: np.ndarray) -> None:
    first = run(build_section(boxes.yolo, YOLO, SHAPE), raw)[0]
    last = run(build_section(boxes.yolo, YOLO.replace("mask = 0,1", "mask = 1,2"), SHAPE), raw)[0]
    np.testing.assert_allclose(last[0::2, 2:4] / first[0::2, 2:4], [[10 / 4, 12 / 6]] * 128, rtol=1e-4)
    np.testing.assert_allclose(last[1::2, 2:4] / first[1::2, 2:4], [[20 / 10, 30 / 12]] * 128, rtol=1e-4)


def test_anchors_that_no_mask_chooses_do_not_matter(raw: np.ndarray) -> None:
    """Darknet wants neither as many anchors as `num` says nor no more than that."""
    expected = build_section(boxes.yolo, YOLO, SHAPE)
    assert build_section(boxes.yolo, YOLO.replace(", 20,30", ""), SHAPE) == expected
    assert build_section(boxes.yolo, YOLO.replace("num=3", "num=2"), SHAPE) == expected
    assert build_section(boxes.region, REGION.replace("1.9,2.1", "1.9,2.1, 3,3"), SHAPE) == build_section(
        boxes.region, REGION, SHAPE
    )


def test_a_gaussian_head_trusts_boxes_less_the_less_certain_they_are() -> None:
    """Gaussian YOLOv3's head in NumPy, written from Darknet's gaussian_yolo_layer.c."""
    section = YOLO.replace("[yolo]", "[Gaussian_yolo]") + "scale_x_y=1.1\nuc_normalizer=1.0\n"
    raw = np.random.default_rng(0).uniform(-2, 2, (1, 22, 8, 16)).astype(np.float32)
    rows = run(build_section(boxes.gaussian_yolo, section, (22, 8, 16)), raw)[0]

    expected = []
    for y in range(8):
        for x in range(16):
            for number, anchor in enumerate([(4, 6), (10, 12)]):
                t = raw[0, number * 11 : number * 11 + 11, y, x]
                centre = [(cell + 1.1 * sigmoid(t[i]) - 0.05) / n for cell, n, i in ((x, 16, 0), (y, 8, 2))]
                size = np.exp(t[4]) * anchor[0] / 64, np.exp(t[6]) * anchor[1] / 32
                certainty = 1 - sigmoid(t[[1, 3, 5, 7]]).mean()
                expected.append([*centre, *size, *(sigmoid(t[8]) * sigmoid(t[9:]) * certainty)])
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("softmax", [True, False])
def test_region_has_anchors_in_cells_and_classes_that_exclude_each_other(raw: np.ndarray, softmax: bool) -> None:
    """YOLOv2's head in NumPy, written from Darknet's region_layer.c."""
    region = REGION if softmax else REGION.replace("softmax=1", "softmax=0")
    raw = 4 * raw - 2
    rows = run(build_section(boxes.region, region, SHAPE), raw)[0]

    expected = []
    for y in range(8):
        for x in range(16):
            for number, anchor in enumerate([(0.5, 0.7), (1.9, 2.1)]):
                t = raw[0, number * 7 : number * 7 + 7, y, x]
                classes = np.exp(t[5:]) / np.exp(t[5:]).sum() if softmax else sigmoid(t[5:])
                centre = ((x + sigmoid(t[0])) / 16, (y + sigmoid(t[1])) / 8)
                size = (np.exp(t[2]) * anchor[0] / 16, np.exp(t[3]) * anchor[1] / 8)
                expected.append([*centre, *size, *(sigmoid(t[4]) * classes)])
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("filters=14", "filters=13", 24, "need 14 channels, but the section before gives 13"),
        ("mask = 0,1", "mask = 0,3", 25, "expected numbers from 0 to 2"),
        ("anchors = 4,6, 10,12, 20,30", "anchors = 4,6, 10", 26, "anchors has 3 numbers, expected pairs"),
        ("anchors = 4,6, 10,12, 20,30", "anchors = 4,6", 25, "mask=[0, 1], expected numbers from 0 to 0"),
        ("[maxpool]\nsize=2\nstride=2", "[upsample]\nstride=100", 23, "boxes, at most 1048576 are allowed"),
    ],
)
def test_a_yolo_section_that_does_not_fit_is_refused(old: str, new: str, line: int, words: str) -> None:
    message = error_with(old, new)
    assert re.match(rf"a\.cfg, line {line}\b", message)
    assert words in message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("coords=4", "coords=5", "coords must be 4"),
        ("softmax=1", "tree=data/9k.tree", "tree=data/9k.tree is not supported"),
        ("softmax=1", "background=1", "background=1 is not supported"),
        ("softmax=1", "classfix=-1", "classfix=-1 is not supported"),
        ("0.5,0.7, 1.9,2.1", "0.5,0.7", "anchors has 1 pairs of numbers, expected one for each of num=2"),
    ],
)
def test_a_region_section_that_is_not_supported_is_refused(old: str, new: str, words: str) -> None:
    assert old in REGION
    assert words in error_of(build, TINY_CFG.split("[yolo]")[0] + REGION.replace(old, new))
