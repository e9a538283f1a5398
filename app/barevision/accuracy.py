"""How right a model's answers are: mean average precision against labels that people made."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from barevision.detection.selection import Selection
from barevision.errors import LabelsError
from barevision.objects import Detection

#: As is usual for mean average precision: nearly all boxes count, each with its confidence.
MEASURED = Selection(confidence=0.001, nms=0.45, per_class_nms=True)


@dataclass(frozen=True)
class Truth:
    """An object that a person found on a picture.

    :ivar box: x and y of the upper left corner, width and height, in pixels of the upright picture.
    :ivar is_crowd: whether it is several, which may be found or not.
    """

    label: str
    box: tuple[float, float, float, float]
    is_crowd: bool = False


def read_truths(labels: Path, sizes: dict[Path, tuple[int, int]], names: list[str]) -> dict[Path, list[Truth]]:
    """What is on those of the pictures that `labels` says it of.

    :param labels: a folder with a YOLO text file for each picture (``photo.txt`` for ``photo.jpg``, a line for each
        object: class number, and centre x, centre y, width and height as shares of the picture), or a COCO .json file.
    :param sizes: (height, width) of each picture in pixels.
    :param names: the model's labels.
    :raises LabelsError: they can't be read, or belong to other pictures or to another model.
    """
    try:
        read = _read_coco if labels.is_file() else _read_yolo
        truths = read(labels, sizes, names)
    except OSError as error:
        raise LabelsError(f"{labels} can't be read: {error}") from error
    if not truths:
        example = next(iter(sizes))
        what = f"{example.name} among its images" if labels.is_file() else f"{example.stem}.txt"
        raise LabelsError(f"{labels} has no labels for any of {len(sizes)} pictures: expected for instance {what}")
    return truths


def _read_yolo(folder: Path, sizes: dict[Path, tuple[int, int]], names: list[str]) -> dict[Path, list[Truth]]:
    truths = {}
    for picture, (height, width) in sizes.items():
        path = folder / f"{picture.stem}.txt"
        if not path.is_file():
            continue
        truths[picture] = []
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1):
            if not line.strip():
                continue
            try:
                label, x, y, share_x, share_y = (float(word) for word in line.split())
            except ValueError:
                label, x, y, share_x, share_y = -1, 0, 0, 0, 0
            if label not in range(len(names)) or not all(0 <= share <= 1 for share in (x, y, share_x, share_y)):
                raise LabelsError(
                    f"{path}, line {number}: {line[:80]!r}, expected a class number from 0 to {len(names) - 1}, and "
                    "centre x, centre y, width and height from 0 to 1"
                )
            box = ((x - share_x / 2) * width, (y - share_y / 2) * height, share_x * width, share_y * height)
            truths[picture].append(Truth(names[int(label)], box))
    return truths


def _read_coco(path: Path, sizes: dict[Path, tuple[int, int]], names: list[str]) -> dict[Path, list[Truth]]:
    pictures = {picture.name: picture for picture in sizes}
    try:
        content = json.loads(path.read_text("utf-8"))
        labels = _coco_labels(path, {row["id"]: row["name"] for row in content["categories"]}, names)
        by_id = {
            row["id"]: pictures[Path(row["file_name"]).name]
            for row in content["images"]
            if Path(row["file_name"]).name in pictures
        }
        truths: dict[Path, list[Truth]] = {picture: [] for picture in by_id.values()}
        for row in content["annotations"]:
            if row["image_id"] in by_id:
                x, y, width, height = map(float, row["bbox"])
                truth = Truth(labels[row["category_id"]], (x, y, width, height), bool(row.get("iscrowd")))
                truths[by_id[row["image_id"]]].append(truth)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabelsError(f"{path} is no COCO file of boxes: {type(error).__name__} {error}") from error
    return truths


def _coco_labels(path: Path, categories: dict[int, str], names: list[str]) -> dict[int, str]:
    """The model's label for each category, by its name or, if all are called something else, by its place."""
    unknown = sorted(set(categories.values()) - set(names))
    if not unknown:
        return categories
    if len(categories) == len(names):
        return dict(zip(sorted(categories), names, strict=True))
    raise LabelsError(
        f"{path} has {len(categories)} categories, the model {len(names)}; it has no {', '.join(unknown)[:200]}"
    )


def mean_average_precision(
    truths: Sequence[Sequence[Truth]], answers: Sequence[Sequence[Detection]], names: list[str]
) -> tuple[float, float]:
    """The mAP at an overlap of 50 %, and the mean of those at 50 to 95 %, as COCO defines them: 0 to 100 each.

    :param answers: for each picture what was detected with `MEASURED`.
    """
    # Part of the extra "quantize".
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    numbers = {name: number for number, name in enumerate(names)}
    objects = [
        {
            "id": number,
            "image_id": picture,
            "category_id": numbers[truth.label],
            "bbox": list(truth.box),
            "area": truth.box[2] * truth.box[3],
            "iscrowd": int(truth.is_crowd),
        }
        for number, (picture, truth) in enumerate(
            ((picture, truth) for picture, row in enumerate(truths) for truth in row), start=1
        )
    ]
    results = [
        {
            "image_id": picture,
            "category_id": numbers[detection.label],
            "bbox": list(detection.box),
            "score": detection.confidence,
        }
        for picture, row in enumerate(answers)
        for detection in row
    ]
    if not results or not objects:
        return 0.0, 0.0
    # It prints what it does.
    with contextlib.redirect_stdout(io.StringIO()):
        expected = COCO()
        expected.dataset = {
            "images": [{"id": picture} for picture in range(len(truths))],
            "annotations": objects,
            "categories": [{"id": number} for number in numbers.values()],
        }
        expected.createIndex()
        evaluation = COCOeval(expected, expected.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return 100 * float(evaluation.stats[1]), 100 * float(evaluation.stats[0])
