"""Networks with random weights that answer some tens of boxes, and what compares these with another predictor's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.data.augment import LetterBox
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import nms

from barevision.detection.selection import class_colors
from barevision.detector import Detector, load_detector
from barevision.models.catalogue import find_source
from barevision.objects import Detection, differences
from barevision.settings import load_settings

SIZE = (256, 320)
CONFIDENCE = 0.25
# What share of boxes may differ, by the overlap that suppression allows. Without suppression every box is compared, and
# none may. With it, boxes that are cut to whole pixels overlap a little more or less than Ultralytics' own do.
ALLOWED = {1.0: 0, 0.45: 0.1}
LABELS = ["cat", "dog", "cow", "hen", "pig"]
PICTURES = ("wide", "tall", "tiny", "exact")


def picture(kind: str) -> np.ndarray:
    """A real scene, uint8 (height, width, 3) BGR, of another form for each of `PICTURES`."""
    image = cv2.imdecode(np.frombuffer(find_source("roadsigns").golden.picture, np.uint8), cv2.IMREAD_COLOR)
    width, height = {"wide": (701, 333), "tall": (301, 640), "tiny": (57, 41), "exact": (320, 256)}[kind]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def fitted(image: np.ndarray) -> torch.Tensor:
    """The network's input as Ultralytics' predictor makes it: float32 (1, 3, height, width)."""
    boxed = LetterBox(SIZE, auto=False, stride=32)(image=image)
    return torch.from_numpy(boxed[..., ::-1].transpose(2, 0, 1)[None].copy()).float() / 255


@torch.no_grad()
def spread(
    network: nn.Module,
    layers: list[nn.Conv2d],
    deviation: float,
    mean: float = 0,
    fit: Callable[[np.ndarray], torch.Tensor] = fitted,
) -> None:
    """Scales random layers so that they vary over the cells of a real picture, which `fit` fits, as told."""
    answers: dict[nn.Conv2d, torch.Tensor] = {}
    hooks = [layer.register_forward_hook(lambda layer, _, answer: answers.update({layer: answer})) for layer in layers]
    network.eval()
    network(fit(picture("wide")))
    for hook in hooks:
        hook.remove()
    for layer, answer in answers.items():
        centre = answer.mean(dim=(0, 2, 3))
        factor = deviation / (answer - centre[:, None, None]).std()
        layer.weight.mul_(factor)
        layer.bias.copy_((layer.bias - centre) * factor + mean)


def made(name: str) -> YOLO:
    """A network of Ultralytics' own .yaml with random weights and our classes."""
    torch.manual_seed(7)
    model = YOLO(f"{name}.yaml")
    network = DetectionModel(f"{name}.yaml", nc=len(LABELS), verbose=False)
    network.names, network.args, network.task = dict(enumerate(LABELS)), model.model.args, "detect"
    model.model = network
    settle(network)
    return model


@torch.no_grad()
def settle(network: nn.Module, fit: Callable[[np.ndarray], torch.Tensor] = fitted) -> None:
    """Batch norms as if trained on our pictures: otherwise random layers forget the picture, one after the other."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    network.train()
    network(torch.cat([fit(picture(kind)) for kind in PICTURES]))
    network.eval()


def loaded(path: Path, folder: Path, engine: str) -> Detector:
    return load_detector(load_settings(model=str(path), models_dir=folder, engine=engine))


def as_detections(boxes: np.ndarray) -> list[Detection]:
    """Ultralytics' rows (left, top, right, bottom, confidence, class) as the package's own type."""
    colors = class_colors(len(LABELS))
    return [
        Detection((left, top, right - left, bottom - top), colors[int(label)], LABELS[int(label)], confidence)
        for left, top, right, bottom, confidence, label in boxes.tolist()
    ]


def compare(
    detector: Detector, expected: list[Detection], image: np.ndarray, overlap: float, precision: float = 0.002
) -> None:
    """Fails unless the detector finds what Ultralytics finds, to the pixels that whole numbers lose.

    What is as good as at the threshold may be above it here and below it there.

    :param precision: by how much confidences may differ; above 0.01 as in half precision, where one box in fifty may.
    """
    found = detector.predict(image, detector.selection(CONFIDENCE, overlap, per_class_nms=True))
    # Centre, size and corner each lose up to a pixel.
    tolerances = {"pixels": 6 if precision > 0.01 else 3, "confidence": precision}
    allowed = (ALLOWED[overlap] + (0.02 if precision > 0.01 else 0)) * len(expected)
    missing = [
        line for line in differences(clear(expected, precision), found, **tolerances) if line.startswith("missing")
    ]
    assert len(missing) <= allowed, missing
    extra = [
        line for line in differences(expected, clear(found, precision), **tolerances) if line.startswith("unexpected")
    ]
    assert len(extra) <= allowed, extra


def clear(answer: list[Detection], precision: float) -> list[Detection]:
    return [item for item in answer if item.confidence > CONFIDENCE + 2.5 * precision]


def suppressed(rows: torch.Tensor, overlap: float) -> torch.Tensor:
    """What Ultralytics' non-maximum suppression leaves of rows (1, N, 5 + classes) of YOLOv5's form.

    :returns: (n, 6), left, top, right, bottom in pixels of the input, score, class.
    """
    # In the form that it takes today.
    answer = torch.cat([rows[..., :4], rows[..., 5:] * rows[..., 4:5]], 2).transpose(1, 2)
    return nms.non_max_suppression(answer, CONFIDENCE, overlap, max_det=2000)[0]
