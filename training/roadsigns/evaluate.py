"""Measures a road sign model with the detector that serves it: on drawn scenes, and on photos.

    python -m training.roadsigns.evaluate --scenes build/roadsigns/unseen --photos PHOTOS

On scenes it prints the average precision at 50 % overlap (mAP50) for signs of at least 16 pixels, class by class;
smaller ones neither help nor harm. On photos it prints every box that is found, for a person to say whether there is a
sign.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from barevision.detection.selection import Selection
from barevision.detector import Detector, load_detector
from barevision.objects import Detection
from barevision.pictures.decode import decode_image
from barevision.settings import load_settings
from training.roadsigns.scenes import read_set

#: Signs whose shorter side is smaller, in pixels of the network's input, are not counted.
SMALLEST = 16
_OVERLAP = 0.5
_LOWEST_CONFIDENCE = 0.01


@dataclass
class Tally:
    """Of one class: (confidence, whether it was right) of each box found, and the number of signs there are."""

    found: list[tuple[float, bool]] = field(default_factory=list)
    signs: int = 0

    def average_precision(self) -> float:
        """The area under the precision-recall curve, 0 to 1."""
        if not self.found or not self.signs:
            return 0.0
        right = np.cumsum([is_right for _, is_right in sorted(self.found, reverse=True)])
        precision = right / np.arange(1, len(right) + 1)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        recall = np.concatenate([[0], right / self.signs])
        return float(np.sum(np.diff(recall) * envelope))


def measure(detector: Detector, scenes: np.ndarray, signs: list[np.ndarray]) -> dict[str, Tally]:
    """The tallies of all classes.

    :param scenes: uint8 (n, height, width, 3) BGR.
    :param signs: of each scene, (m, 5): label, left, top, right, bottom in pixels.
    """
    labels = detector.model.labels
    tallies = {label: Tally() for label in labels}
    for scene, truths in zip(scenes, signs, strict=True):
        large = (truths[:, 3:] - truths[:, 1:3]).min(axis=1, initial=np.inf) >= SMALLEST
        for truth, is_large in zip(truths, large, strict=True):
            tallies[labels[int(truth[0])]].signs += int(is_large)
        _count(detector.predict(scene, Selection(_LOWEST_CONFIDENCE)), truths, large, labels, tallies)
    return tallies


def _count(
    answer: list[Detection], truths: np.ndarray, large: np.ndarray, labels: list[str], tallies: dict[str, Tally]
) -> None:
    taken: set[int] = set()
    for detection in answer:
        match = _best_match(detection, truths, labels, taken)
        if match is not None:
            taken.add(match)
        elif min(detection.box[2:]) < SMALLEST:
            continue
        if match is None or large[match]:
            tallies[detection.label].found.append((detection.confidence, match is not None))


def _best_match(detection: Detection, truths: np.ndarray, labels: list[str], taken: set[int]) -> int | None:
    overlaps = [
        _iou(detection.box, truth[1:]) if labels[int(truth[0])] == detection.label and index not in taken else 0.0
        for index, truth in enumerate(truths)
    ]
    best = int(np.argmax(overlaps)) if overlaps else 0
    return best if overlaps and overlaps[best] >= _OVERLAP else None


def _iou(box: list[int], corners: np.ndarray) -> float:
    x, y, width, height = box
    shared_x = min(x + width, corners[2]) - max(x, corners[0])
    shared_y = min(y + height, corners[3]) - max(y, corners[1])
    shared = max(0.0, shared_x) * max(0.0, shared_y)
    return shared / (width * height + (corners[2] - corners[0]) * (corners[3] - corners[1]) - shared)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Measures a road sign model.")
    parser.add_argument(
        "--model", default="roadsigns", help="a folder with .cfg, .weights, .names (default: roadsigns)"
    )
    parser.add_argument("--scenes", type=Path, metavar="STEM", help="a set that scenes.py wrote with another seed")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="a folder of .jpg photos")
    arguments = parser.parse_args()

    detector = load_detector(load_settings(model=arguments.model))
    if arguments.scenes:
        _print_scenes(measure(detector, *read_set(arguments.scenes)))
    if arguments.photos:
        _print_photos(detector, sorted(arguments.photos.glob("*.jpg")))


def _print_scenes(tallies: dict[str, Tally]) -> None:
    for label, tally in tallies.items():
        print(f"{label:14} AP50 {tally.average_precision():.3f}  ({tally.signs} signs)")
    print(f"{'mAP50':14}      {np.mean([tally.average_precision() for tally in tallies.values()]):.3f}")


def _print_photos(detector: Detector, photos: list[Path]) -> None:
    boxes = 0
    for photo in photos:
        answer = detector.predict(decode_image(photo.read_bytes(), detector.settings.max_pixels))
        boxes += len(answer)
        for detection in answer:
            print(f"{photo.name}: {detection.label} {detection.confidence:.2f} at {list(detection.box)}")
    print(f"{boxes} boxes on {len(photos)} photos at confidence {detector.settings.confidence}")


if __name__ == "__main__":
    main()
