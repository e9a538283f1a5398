"""The forms of detection heads: boxes come out where they are on the image, whatever the network's form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from barevision.detection.network_output import Head
from barevision.detector import load_detector
from barevision.engines import ENGINES
from barevision.errors import WrongAnswerError
from barevision.settings import load_settings
from tests.support.onnx_files import network, write_network

# An image of 120x160 (height, width) in an input of 64x96: scaled by 8/15 to 64x85, 11/2 columns of grey at the left.
_GAIN, _LEFT = 8 / 15, 5
#: (left, top, width, height) on the image, class, score.
_OBJECTS = [((30, 15, 60, 45), 1, 0.9), ((90, 60, 45, 30), 2, 0.7)]


def answer_of(form: str) -> np.ndarray:
    """What a network with a head of `form` and three classes says of `_OBJECTS`, among rows that say nothing."""
    rows = np.zeros((20, 8), np.float32)
    for number, ((x, y, width, height), label, score) in enumerate(_OBJECTS):
        centre = (x + width / 2) * _GAIN + _LEFT, (y + height / 2) * _GAIN
        rows[number * 7, :4] = *centre, width * _GAIN, height * _GAIN
        rows[number * 7, 4] = score / 0.95
        rows[number * 7, 5 + label] = 0.95
    if form == "yolov5":
        return rows
    scores = rows[:, 5:] * rows[:, 4:5]
    if form == "yolov8":
        return np.concatenate([rows[:, :4], scores], axis=1).T
    corners = np.concatenate([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2], axis=1)
    return np.column_stack([corners, scores.max(axis=1), scores.argmax(axis=1)])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", ["yolov5", "yolov8", "end-to-end"])
def test_boxes_of_every_head_are_where_they_are_on_the_image(
    tmp_path: Path, photo: np.ndarray, form: str, engine: str
) -> None:
    path = write_network(tmp_path / "best.onnx", network(answer_of(form)))
    detector = load_detector(load_settings(model=str(path), models_dir=tmp_path / "models", engine=engine))
    assert detector.model.head == Head(form, "letterbox")
    assert "finite" in detector.check()

    detections = detector.predict(photo)
    assert [item.label for item in detections] == ["dog", "cow"]
    for item, (box, _, score) in zip(detections, _OBJECTS, strict=True):
        assert item.confidence == pytest.approx(score, abs=1e-5)
        # Cut to whole pixels as in the tutorial: the centre, then the corner.
        assert np.abs(np.subtract(item.box, box)).max() <= 2


def test_boxes_that_the_network_chose_itself_are_not_chosen_from_again(tmp_path: Path, photo: np.ndarray) -> None:
    twice = np.tile([10, 10, 50, 50, 0.9, 0], (3, 1))
    path = write_network(tmp_path / "best.onnx", network(twice))
    detector = load_detector(load_settings(model=str(path), models_dir=tmp_path / "models"))
    assert len(detector.predict(photo, detector.selection(nms=0.1))) == 3


def test_a_chosen_class_that_the_model_does_not_have_is_left_out(tmp_path: Path, photo: np.ndarray) -> None:
    rows = np.array([[10, 10, 50, 50, 0.9, number] for number in (-1, 0, 2, 3, 7)])
    path = write_network(tmp_path / "best.onnx", network(rows))
    detector = load_detector(load_settings(model=str(path), models_dir=tmp_path / "models"))
    assert [item.label for item in detector.predict(photo)] == ["cat", "cow"]


def test_an_answer_that_is_not_a_number_is_an_error(tmp_path: Path, photo: np.ndarray) -> None:
    path = write_network(tmp_path / "nan.onnx", network(np.full((5, 6), np.nan)))
    detector = load_detector(load_settings(model=str(path), models_dir=tmp_path / "models"))
    with pytest.raises(WrongAnswerError, match="NaN"):
        detector.predict(photo)
