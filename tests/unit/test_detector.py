"""A model on an engine: what it answers, and how it is checked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from barevision.detector import load_detector
from barevision.errors import WrongAnswerError
from barevision.settings import load_settings
from tests.support.darknet_files import write_model


def test_a_golden_image_that_is_no_picture_is_a_wrong_answer(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    (folder / "golden.jpg").write_text("no picture")
    (folder / "golden.json").write_text("[]")
    detector = load_detector(load_settings(model=str(folder), models_dir=tmp_path / "models"))
    with pytest.raises(WrongAnswerError, match="the golden image can't be predicted: this is no picture"):
        detector.check()


def test_a_golden_answer_decides(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    from barevision.pictures.decode import encode_image

    (folder / "golden.jpg").write_bytes(encode_image(np.zeros((32, 64, 3), np.uint8), ".jpg"))
    (folder / "golden.json").write_text("[]")
    detector = load_detector(load_settings(model=str(folder), models_dir=tmp_path / "models"))
    assert "0 boxes were found" in detector.check()

    wanted = [{"boxes": [1, 2, 3, 4], "color": [0, 0, 0], "label": "cat", "confidence": 0.9}]
    (folder / "golden.json").write_text(json.dumps(wanted))
    detector = load_detector(load_settings(model=str(folder), models_dir=tmp_path / "models"))
    with pytest.raises(WrongAnswerError, match=r"missing: cat 0\.900 at \[1, 2, 3, 4\]"):
        detector.check()


def test_a_network_that_answers_no_numbers_is_found_out(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    # Finite weights, but far too large: exp() overflows in the boxes.
    data = bytearray((folder / "net.weights").read_bytes())
    values = np.frombuffer(data, "<f4", offset=20).copy()
    values[-14 * 8 - 14 :] = 1e30
    (folder / "net.weights").write_bytes(bytes(data[:20]) + values.tobytes())
    detector = load_detector(load_settings(model=str(folder), models_dir=tmp_path / "models"))
    with pytest.raises(WrongAnswerError, match="not finite"):
        detector.check()
