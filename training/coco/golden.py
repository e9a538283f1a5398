"""Draws the golden picture that the catalogue's COCO networks share, a stop sign and a traffic light on a street.

    python -m training.coco.golden models/yolo-fastest-1.1 models/yolo-fastest-1.1-xl

Writes it into the package, and what each of the models answers, if that is what was drawn and there is no doubt about
it. An entry of the catalogue gets its line `golden` afterwards.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from barevision.detector import Detector, load_detector
from barevision.objects import Detection
from barevision.pictures.decode import decode_image
from barevision.settings import load_settings
from training.roadsigns import templates
from training.roadsigns.golden import draw_pole, paste, street

_FOLDER = Path(__file__).parents[2] / "app" / "barevision" / "models" / "coco"
#: Of each thing: its label, its drawing, left edge, top edge and size in pixels.
_THINGS = (("stop sign", templates.stop, 60, 90, 180), ("traffic light", templates.traffic_light, 470, 40, 150))
# Confidences between these two are doubts: another machine's rounding must not decide about an answer.
_DOUBTFUL = (0.25, 0.75)


def draw() -> bytes:
    """The picture as a JPEG of a few kilobytes."""
    rng = np.random.default_rng(5)
    picture = street(rng)
    for _, drawing, left, top, size in _THINGS:
        draw_pole(picture, left + size // 2, top + size // 2)
        paste(picture, drawing(rng), (left, top), size)
    picture = cv2.resize(cv2.GaussianBlur(picture, (0, 0), 1), (320, 240), interpolation=cv2.INTER_AREA)
    image = (np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes()


def ask(detector: Detector, picture: bytes) -> list[Detection]:
    """What `detector` answers. Ends the program if that is not what was drawn, or if there is a doubt."""
    image = decode_image(picture, detector.settings.max_pixels)
    candidates = detector.predict(image, detector.selection(confidence=_DOUBTFUL[0]))
    answer = detector.predict(image)
    if sorted(item.label for item in answer) != sorted(thing[0] for thing in _THINGS):
        raise SystemExit(f"{detector.model.name} does not see what was drawn: {answer}")
    if any(item.confidence < _DOUBTFUL[1] for item in candidates):
        raise SystemExit(f"{detector.model.name} has a doubt: {candidates}")
    return answer


def main() -> None:
    """Draws, asks the models, writes."""
    parser = argparse.ArgumentParser(description="Makes the golden picture of the catalogue's COCO networks.")
    parser.add_argument("models", nargs="+", help="folders that are named like the models")
    models = parser.parse_args().models

    picture = draw()
    detectors = [load_detector(load_settings(model=model, precision="f32")) for model in models]
    answers = {detector.model.name: ask(detector, picture) for detector in detectors}
    _FOLDER.mkdir(exist_ok=True)
    (_FOLDER / "golden.jpg").write_bytes(picture)
    for model, answer in answers.items():
        text = json.dumps([detection.to_json() for detection in answer], indent=1)
        (_FOLDER / f"{model}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
