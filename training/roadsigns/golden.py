"""Draws the golden image of a road sign model: one sign of each kind on a street, and a few things that are no signs.

    python -m training.roadsigns.golden --model build/roadsigns

Writes golden.jpg into the model's folder, and golden.json with what the model answers, if that is what was drawn.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from barevision.detector import load_detector
from barevision.pictures.decode import decode_image, encode_image
from barevision.settings import load_settings
from training.roadsigns import templates

_HEIGHT, _WIDTH, _HORIZON = 480, 640, 300
#: Of each sign: its drawing, left edge, top edge and size in pixels.
_SIGNS = (
    (templates.stop, 30, 90, 120),
    (templates.speed_limit, 190, 130, 84),
    (templates.crossing, 300, 70, 104),
    (templates.no_entry, 430, 150, 76),
    (templates.roundabout, 520, 100, 96),
    (templates.give_way, 240, 280, 60),
)
_OTHERS = ((templates.clock, 420, 20, 50), (templates.traffic_light, 168, 20, 70))


def draw(seed: int) -> tuple[np.ndarray, list[tuple[str, list[int]]]]:
    """The picture, uint8 (480, 640, 3) BGR, and the name and box (x, y, width, height) of each sign in it."""
    rng = np.random.default_rng(seed)
    picture = street(rng)
    for drawing, left, top, size in _OTHERS:
        paste(picture, drawing(rng), (left, top), size)
    truths = []
    for drawing, left, top, size in _SIGNS:
        template = drawing(rng)
        draw_pole(picture, left + size // 2, top + size // 2)
        paste(picture, template, (left, top), size)
        corners = template.outline * size + (left, top)
        low, high = corners.min(axis=0), corners.max(axis=0)
        truths.append((templates.NAMES[template.label], [round(float(value)) for value in (*low, *(high - low))]))
    picture = cv2.GaussianBlur(picture, (0, 0), 0.6) + rng.normal(0, 0.012, picture.shape)
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8), truths


def street(rng: np.random.Generator) -> np.ndarray:
    """A sky over a hedge over a road: float32 (480, 640, 3)."""
    height = np.linspace(0, 1, _HEIGHT, dtype=np.float32)[:, None, None]
    picture = np.array([0.92, 0.78, 0.6]) * (1 - height) + np.array([0.95, 0.93, 0.9]) * height
    picture = np.ascontiguousarray(np.broadcast_to(picture, (_HEIGHT, _WIDTH, 3)), np.float32)
    leaves = cv2.resize(rng.standard_normal((30, 80)).astype(np.float32), (_WIDTH, 120), interpolation=cv2.INTER_CUBIC)
    hedge = np.array([0.2, 0.42, 0.28]) * (1 + 0.25 * leaves[..., None])
    tops = _HORIZON - 60 + 12 * cv2.resize(rng.standard_normal((1, 20)), (_WIDTH, 1), interpolation=cv2.INTER_CUBIC)[0]
    rows = np.arange(_HORIZON - 90, _HORIZON + 30)[:, None]
    band = picture[_HORIZON - 90 : _HORIZON + 30]
    band[:] = np.where((rows > tops)[..., None], hedge, band)
    road = 0.42 + 0.03 * rng.standard_normal((_HEIGHT - _HORIZON - 30, _WIDTH, 1))
    picture[_HORIZON + 30 :] = road
    for left in range(-40, _WIDTH, 150):
        cv2.fillPoly(
            picture, [np.array([(left, 430), (left + 80, 430), (left + 95, 440), (left - 5, 440)])], (0.9, 0.9, 0.9)
        )
    return picture


def draw_pole(picture: np.ndarray, x: int, top: int) -> None:
    """Draws a pole of a sign at the column `x`, from the row `top` down to the street."""
    cv2.line(picture, (x, top), (x, 395), (0.55, 0.55, 0.55), 6, cv2.LINE_AA)


def paste(picture: np.ndarray, template: templates.Template, corner: tuple[int, int], size: int) -> None:
    """Draws `template` on `picture`, `size` pixels wide and high, its upper left `corner` at (x, y)."""
    left, top = corner
    image = cv2.resize(template.image, (size, size), interpolation=cv2.INTER_AREA)
    area = picture[top : top + size, left : left + size]
    area[:] = area * (1 - image[..., 3:]) + image[..., :3]


def main() -> None:
    """Draws, asks the model, compares, writes."""
    parser = argparse.ArgumentParser(description="Makes the golden image of a road sign model.")
    parser.add_argument("--model", type=Path, required=True, help="the folder with .cfg, .weights and .names")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other drawings (default: 1)")
    arguments = parser.parse_args()

    picture, truths = draw(arguments.seed)
    data = encode_image(picture, ".jpg")
    detector = load_detector(load_settings(model=str(arguments.model), precision="f32"))
    answer = detector.predict(decode_image(data, detector.settings.max_pixels))
    for detection in answer:
        print(detection)
    if sorted(detection.label for detection in answer) != sorted(name for name, _ in truths):
        raise SystemExit(f"that is not what was drawn: {truths}")
    (arguments.model / "golden.jpg").write_bytes(data)
    (arguments.model / "golden.json").write_text(
        json.dumps([detection.to_json() for detection in answer], indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
