"""The forms of detection heads: boxes come out where they are on the image, whatever the network's form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from barevision.detection.network_output import Head
from barevision.detector import load_detector
from barevision.engines import ENGINES
from barevision.errors import EngineError, WrongAnswerError
from barevision.settings import load_settings
from tests.support.onnx_files import METADATA, SQUARE_CLASSES, as_half, network, square_finder, write_network

# An image of 120x160 (height, width) in an input of 64x96: scaled by 8/15 to 64x85, 11/2 columns of grey at the left.
_CHOSEN = METADATA | {"end2end": "True"}
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
    metadata = _CHOSEN if form == "end-to-end" else METADATA
    path = write_network(tmp_path / "best.onnx", network(answer_of(form), metadata))
    detector = load_detector(load_settings(model=str(path), models_dir=tmp_path / "models", engine=engine))
    assert detector.model.head == Head(form, "letterbox")
    assert "finite" in detector.check()

    detections = detector.predict(photo)
    assert [item.label for item in detections] == ["dog", "cow"]
    for item, (box, _, score) in zip(detections, _OBJECTS, strict=True):
        assert item.confidence == pytest.approx(score, abs=1e-5)
        # Cut to whole pixels as in the tutorial: the centre, then the corner.
        assert np.abs(np.subtract(item.box, box)).max() <= 2


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("with_all_scores", [False, True])
def test_boxes_of_rtdetr_are_relative_to_a_stretched_image_and_not_chosen_from_again(
    tmp_path: Path, photo: np.ndarray, engine: str, with_all_scores: bool
) -> None:
    boxes = [((x + w / 2) / 160, (y + h / 2) / 120, w / 160, h / 120) for (x, y, w, h), _, _ in _OBJECTS * 2]
    if with_all_scores:
        says = {"description": "Ultralytics rtdetr-l model"}
        scores = [[0.1 if label != number else score for number in range(3)] for _, label, score in _OBJECTS * 2]
    else:
        says = {"head": "RTDETRDecoder", "end2end": "False"}
        scores = [(score, label) for _, label, score in _OBJECTS * 2]
    path = write_network(tmp_path / "best.onnx", network(np.column_stack([boxes, scores]), METADATA | says))
    detector = load_detector(load_settings(model=str(path), models_dir=tmp_path / "models", engine=engine))
    detections = detector.predict(photo, detector.selection(nms=0.1))
    assert [item.label for item in detections] == ["dog", "dog", "cow", "cow"]
    for item, (box, _, score) in zip(detections, np.repeat(np.array(_OBJECTS, object), 2, axis=0), strict=True):
        assert item.confidence == pytest.approx(score, abs=1e-5)
        assert np.abs(np.subtract(item.box, box)).max() <= 1


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "kind", ["yolox", "yolox-decoded", "yolov7", "yolov7-and-heads", "yolov7-tensorrt", "yolov7-chosen"]
)
def test_squares_are_found_where_they_are_on_the_image(tmp_path: Path, kind: str, engine: str) -> None:
    path = write_network(tmp_path / "best.onnx", square_finder(kind))
    path.with_suffix(".names").write_text("\n".join(SQUARE_CLASSES))
    settings = load_settings(model=str(path), models_dir=tmp_path / "models", engine=engine)
    if (kind, engine) == ("yolov7-chosen", "opencv"):
        with pytest.raises(EngineError, match=r"can't run the non-maximum suppression .* onnxruntime can"):
            load_detector(settings)
        return
    detector = load_detector(settings)
    assert "finite" in detector.check()

    # Twice the input's height: 80x64 of its 96x64 pixels are the image's, the others grey.
    image = np.zeros((128, 160, 3), np.uint8)
    assert detector.predict(image) == []
    image[32:48, 48:64] = 255, 0, 0
    image[96:112, 112:128] = 0, 0, 255
    found = {item.label: item for item in detector.predict(image)}
    # The network answers them twice as wide as they are.
    assert {label: item.box for label, item in found.items()} == {"blue": (40, 32, 32, 16), "red": (104, 96, 32, 16)}
    assert min(item.confidence for item in found.values()) > 0.99


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("keeps_types", [True, False])
def test_boxes_of_half_precision_are_where_they_are_on_the_image(
    tmp_path: Path, photo: np.ndarray, engine: str, keeps_types: bool
) -> None:
    path = write_network(tmp_path / "best.onnx", as_half(network(answer_of("yolov8")), keeps_types))
    detector = load_detector(load_settings(model=str(path), models_dir=tmp_path / "models", engine=engine))
    detections = detector.predict(photo)
    assert [item.label for item in detections] == ["dog", "cow"]
    for item, (box, _, score) in zip(detections, _OBJECTS, strict=True):
        assert item.confidence == pytest.approx(score, abs=1e-3)
        assert np.abs(np.subtract(item.box, box)).max() <= 2


def test_boxes_that_the_network_chose_itself_are_not_chosen_from_again(tmp_path: Path, photo: np.ndarray) -> None:
    twice = np.tile([10, 10, 50, 50, 0.9, 0], (3, 1))
    path = write_network(tmp_path / "best.onnx", network(twice, _CHOSEN))
    detector = load_detector(load_settings(model=str(path), models_dir=tmp_path / "models"))
    assert len(detector.predict(photo, detector.selection(nms=0.1))) == 3


def test_a_chosen_class_that_the_model_does_not_have_is_left_out(tmp_path: Path, photo: np.ndarray) -> None:
    rows = np.array([[10, 10, 50, 50, 0.9, number] for number in (-1, 0, 2, 3, 7)])
    path = write_network(tmp_path / "best.onnx", network(rows, _CHOSEN))
    detector = load_detector(load_settings(model=str(path), models_dir=tmp_path / "models"))
    assert [item.label for item in detector.predict(photo)] == ["cat", "cow"]


def test_an_answer_that_is_not_a_number_is_an_error(tmp_path: Path, photo: np.ndarray) -> None:
    path = write_network(tmp_path / "nan.onnx", network(np.full((5, 6), np.nan), _CHOSEN))
    detector = load_detector(load_settings(model=str(path), models_dir=tmp_path / "models"))
    with pytest.raises(WrongAnswerError, match="NaN"):
        detector.predict(photo)
