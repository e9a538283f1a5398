"""The tutorial's algorithm on real models and photos: same labels, same boxes, same confidences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from barevision.detector import load_detector
from barevision.engines import ENGINES
from barevision.objects import differences
from barevision.pictures.decode import decode_image
from barevision.settings import load_settings
from tests.support.answers import detections
from tests.support.assets import model_folder


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", ["yolo-fastest-1.1-xl", "yolo-fastest-1.1"])
def test_answers_are_the_tutorials(assets: Path, tmp_path: Path, model: str, engine: str) -> None:
    folder = model_folder(assets, model, tmp_path)
    detector = load_detector(load_settings(model=str(folder), models_dir=tmp_path / "prepared", engine=engine))
    golden = json.loads((assets / "golden" / f"{model}.json").read_text())
    golden = {name: detections(answer) for name, answer in golden.items()}
    assert len(golden) > 60
    wrong = {}
    for name, expected in golden.items():
        photo = next(path for path in assets.glob(f"*/**/{name}") if path.suffix == ".jpg")
        found = detector.predict(decode_image(photo.read_bytes(), 50_000_000))
        if lines := differences(expected, found, pixels=2, confidence=0.005):
            wrong[name] = lines
    assert wrong == {}
