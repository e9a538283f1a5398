"""Measures a road sign model as Barevision runs it: mAP50 on drawn scenes, boxes on photos.

python -m training.roadsigns.evaluate app/barevision/models/roadsigns --scenes build/roadsigns/test
python -m training.roadsigns.evaluate app/barevision/models/roadsigns --photos my-photos --save found
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from barevision.detection import Detection, annotate, select_detections, to_blob
from barevision.detector import Detector, load_detector
from barevision.settings import Settings
from training.roadsigns.scenes import SIDE, read_set

#: Signs whose box has a smaller geometric mean of width and height, in the network's input, neither count nor cost.
SMALLEST_MEASURED = 16
_IOU = 0.5
_LOWEST_CONFIDENCE = 0.01
# Barevision's selection cuts boxes to pixels of the picture: taken as this much larger, they stay exact.
_FINE = 16


def detections(detector: Detector, scene: np.ndarray, confidence: float) -> list[Detection]:
    """What is found in a scene, uint8 (SIDE, SIDE, 3) BGR, most confident first; boxes in 1/16 pixels."""
    rows = detector.engine.infer(to_blob(scene, detector.engine.input_size))
    return select_detections(rows, (SIDE * _FINE, SIDE * _FINE), confidence, 0.3)


def average_precision(hits: list[tuple[float, bool]], truths: int) -> float:
    """The area under the precision-recall curve, precision made monotonous.

    :param hits: confidence of each detection, and whether it is right.
    """
    right = np.cumsum([hit for _, hit in sorted(hits, reverse=True)])
    if not len(right) or not truths:
        return 0.0
    precision = right / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(right / truths, prepend=0) * precision))


def judge(found: list[Detection], signs: np.ndarray) -> Iterator[tuple[int, float, bool]]:
    """(label, confidence, right) of each detection that counts; `signs` as `read_set` gives them."""
    free = np.ones(len(signs), bool)
    small = sizes(signs) < SMALLEST_MEASURED
    for detection in found:
        box = np.array(detection.box, float) / _FINE
        overlap = _overlap(box, signs[:, 1:]) * (signs[:, 0] == detection.class_id) * free
        best = int(overlap.argmax()) if len(signs) else -1
        hit = best >= 0 and overlap[best] >= _IOU
        if hit:
            free[best] = False
        on_small = hit and small[best]
        # A small sign that is found, if badly, is no mistake either.
        near_small = not hit and np.any(small & (_overlap(box, signs[:, 1:]) > 0.2))
        if not on_small and not near_small:
            yield detection.class_id, detection.confidence, bool(hit)


def sizes(signs: np.ndarray) -> np.ndarray:
    """The geometric mean of width and height of each sign in pixels."""
    return np.sqrt((signs[:, 3] - signs[:, 1]) * (signs[:, 4] - signs[:, 2]))


def _overlap(box: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """IoU of a box (x, y, width, height) with corner boxes (m, 4)."""
    low, high = np.maximum(corners[:, :2], box[:2]), np.minimum(corners[:, 2:], box[:2] + box[2:])
    shared = (high - low).clip(0).prod(axis=1)
    return shared / (box[2:].prod() + (corners[:, 2:] - corners[:, :2]).prod(axis=1) - shared)


def measure_scenes(detector: Detector, stem: Path) -> None:
    """Prints average precision and recall of each class, mAP50, and false boxes a scene."""
    scenes, truths = read_set(stem)
    labels = detector.model.labels
    hits: list[list[tuple[float, bool]]] = [[] for _ in labels]
    for scene, signs in zip(scenes, truths, strict=True):
        for label, confidence, right in judge(detections(detector, scene, _LOWEST_CONFIDENCE), signs):
            hits[label].append((confidence, right))
    all_signs = np.concatenate(truths)
    counts = np.bincount(all_signs[sizes(all_signs) >= SMALLEST_MEASURED, 0].astype(int), minlength=len(labels))
    precisions = [average_precision(found, int(count)) for found, count in zip(hits, counts, strict=True)]
    for name, found, count, precision in zip(labels, hits, counts, precisions, strict=True):
        recall = sum(right for confidence, right in found if confidence > 0.5) / max(1, count)
        print(f"{name:12} AP50 {precision:.3f}  found at 0.5 {recall:.3f} of {count}")
    wrong = sum(not right for found in hits for confidence, right in found if confidence > 0.5)
    print(f"mAP50 {np.mean(precisions):.4f} on {len(scenes)} scenes, {wrong / len(scenes):.3f} false boxes each at 0.5")


def measure_photos(detector: Detector, folder: Path, confidence: float, save: Path | None) -> None:
    """Prints every box on the photos of a folder, and how many a photo; saves the pictures with boxes, if asked."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    total = 0
    for path in paths:
        image = cv2.imread(str(path))
        answer = detector.predict(image, confidence=confidence)
        total += len(answer)
        for item in answer:
            print(f"{path.name}: {item['label']} {item['confidence']:.3f} at {item['boxes']}")
        if answer and save:
            save.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(save / f"{path.stem}.png"), annotate(image, answer))
    print(f"{total} boxes on {len(paths)} photos at confidence {confidence}: {total / max(1, len(paths)):.3f} a photo")


def main() -> int:
    """Measures a model."""
    parser = argparse.ArgumentParser(description="Measures a road sign model as Barevision runs it.")
    parser.add_argument("model", type=Path, help="folder with a .cfg, .weights and .names")
    parser.add_argument("--scenes", type=Path, metavar="STEM", help="a set of scenes that training never saw")
    parser.add_argument("--photos", type=Path, help="a folder of photos")
    parser.add_argument("--confidence", type=float, default=0.5, help="of boxes on photos (default: 0.5)")
    parser.add_argument("--save", type=Path, help="folder for the photos on which something was found")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        detector = load_detector(Settings(model=str(arguments.model), models_dir=folder))
        if arguments.scenes:
            measure_scenes(detector, arguments.scenes)
        if arguments.photos:
            measure_photos(detector, arguments.photos, arguments.confidence, arguments.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
