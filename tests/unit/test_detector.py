"""A model on an engine: what it answers, and how it is checked."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from barevision.choosing.choice import Choice
from barevision.choosing.speeds import Measurement, conditions, write_measurement
from barevision.detector import load_detector
from barevision.engines import Plan
from barevision.errors import EngineError, WrongAnswerError
from barevision.models.catalogue import find_source
from barevision.models.prepare import prepare
from barevision.settings import Settings, load_settings
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


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(
        model=str(write_model(tmp_path / "mine")),
        models_dir=tmp_path / "models",
        engine="auto",
        precision="auto",
        threads=2,
    )


def choose(settings: Settings, plan: Plan) -> None:
    """Notes `plan` as what was chosen on this machine."""
    model = prepare(find_source(settings.model), settings.models_dir)
    choice = Choice(plan, "it is the fastest", 0.01, 100, 10**8)
    assert write_measurement(model.path, Measurement(conditions(settings), True, choice, []))


def test_a_model_runs_as_it_was_chosen_on_this_machine(settings: Settings) -> None:
    assert load_detector(settings).engine.plan == Plan("onnxruntime", "f32", 1, 2)
    choose(settings, Plan("openvino", "f32", 2, 1))
    assert load_detector(settings, measures=True).engine.plan == Plan("openvino", "f32", 2, 1)


def test_what_was_chosen_and_does_not_run_is_replaced_and_logged(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where the service's sandbox forbids what `models prepare` could do."""
    choose(settings, Plan("openvino", "f32", 2, 1))
    from barevision.engines import open_vino

    def refuse(*_: object) -> None:
        raise RuntimeError("can't protect memory")

    monkeypatch.setattr(open_vino.openvino, "Core", refuse)
    with caplog.at_level(logging.WARNING):
        detector = load_detector(settings)
    assert detector.engine.plan == Plan("onnxruntime", "f32", 1, 2)
    assert "openvino f32, 2 at once on 1 core each was chosen, and does not run: OpenVINO may not write" in caplog.text


@pytest.mark.parametrize("measures", [True, False])
@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"engine": "onnxruntime", "precision": "bf16"}, "onnxruntime computes with f32, not with bf16"),
        ({"precision": "int8"}, "mine is not quantized, so it can't compute with int8"),
    ],
)
def test_what_somebody_named_is_not_replaced(settings: Settings, named: dict, words: str, measures: bool) -> None:
    with pytest.raises(EngineError, match=words):
        load_detector(settings.model_copy(update=named), measures=measures)


def test_a_service_measures_what_nobody_measured(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def measure(*_: object) -> Measurement:
        choice = Choice(Plan("onnxruntime", "f32", 2, 1), "it is the fastest", 0.01, 100, 10**8)
        return Measurement(conditions(settings), False, choice, [])

    monkeypatch.setattr("barevision.choosing.measure.measure", measure)
    with caplog.at_level(logging.INFO):
        assert load_detector(settings, measures=True).engine.plan == Plan("onnxruntime", "f32", 2, 1)
    assert "it is the fastest" in caplog.text
    assert load_detector(settings).engine.plan == Plan("onnxruntime", "f32", 1, 2)
