"""Networks that Ultralytics' own package made and exported: the boxes that its own predictor finds on the same picture.

The weights are random, so the last layers are scaled until some tens of boxes of different sizes and classes pass.
Ultralytics no longer has YOLOv5's head with anchors; it is added here to its YOLOv5 network, after the published
formulas, and exported with the metadata that YOLOv5's own exporter writes.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from barevision.detector import Detector, load_detector
from barevision.engines import ENGINES
from barevision.errors import ModelError
from barevision.models.catalogue import find_source
from barevision.models.prepare import prepare
from barevision.objects import Detection, differences
from barevision.settings import load_settings

# Before its import: it would install packages, and ask the network whether there is one.
os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ["YOLO_OFFLINE"] = "true"
_WHY = "needs PyTorch and ultralytics, which are not in requirements.txt: run make test-exports"
torch = pytest.importorskip("torch", reason=_WHY)
pytest.importorskip("ultralytics", reason=_WHY)

from torch import nn  # noqa: E402
from ultralytics import YOLO  # noqa: E402
from ultralytics.data.augment import LetterBox  # noqa: E402
from ultralytics.models.yolo.detect import DetectionPredictor  # noqa: E402
from ultralytics.nn.tasks import DetectionModel  # noqa: E402
from ultralytics.utils import nms, ops  # noqa: E402

# The exporters warn of their own deprecations.
pytestmark = pytest.mark.filterwarnings("ignore")

_SIZE = (256, 320)
_CONFIDENCE = 0.25
# What share of boxes may differ, by the overlap that suppression allows. Without suppression every box is compared, and
# none may. With it, boxes that are cut to whole pixels overlap a little more or less than Ultralytics' own do.
_ALLOWED = {1.0: 0, 0.45: 0.1}
_LABELS = ["cat", "dog", "cow", "hen", "pig"]
_PICTURES = ("wide", "tall", "tiny", "exact")
_ANCHORS = [[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119], [116, 90, 156, 198, 373, 326]]


def picture(kind: str) -> np.ndarray:
    """A real scene, uint8 (height, width, 3) BGR, of another form for each of `_PICTURES`."""
    image = cv2.imdecode(np.frombuffer(find_source("roadsigns").golden.picture, np.uint8), cv2.IMREAD_COLOR)
    width, height = {"wide": (701, 333), "tall": (301, 640), "tiny": (57, 41), "exact": (320, 256)}[kind]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def fitted(image: np.ndarray) -> torch.Tensor:
    """The network's input as Ultralytics' predictor makes it: float32 (1, 3, height, width)."""
    boxed = LetterBox(_SIZE, auto=False, stride=32)(image=image)
    return torch.from_numpy(boxed[..., ::-1].transpose(2, 0, 1)[None].copy()).float() / 255


@torch.no_grad()
def spread(network: nn.Module, layers: list[nn.Conv2d], deviation: float, mean: float = 0) -> None:
    """Scales random layers so that they vary over the cells of a real picture as told."""
    answers: dict[nn.Conv2d, torch.Tensor] = {}
    hooks = [layer.register_forward_hook(lambda layer, _, answer: answers.update({layer: answer})) for layer in layers]
    network.eval()
    network(fitted(picture("wide")))
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
    network = DetectionModel(f"{name}.yaml", nc=len(_LABELS), verbose=False)
    network.names, network.args, network.task = dict(enumerate(_LABELS)), model.model.args, "detect"
    model.model = network
    settle(network)
    return model


@torch.no_grad()
def settle(network: nn.Module) -> None:
    """Batch norms as if trained on our pictures: otherwise random layers forget the picture, one after the other."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    network.train()
    network(torch.cat([fitted(picture(kind)) for kind in _PICTURES]))
    network.eval()


def exported(name: str, end_to_end: bool, folder: Path) -> Path:
    """Such a network, spread and exported by Ultralytics' own exporter."""
    model = made(name)
    head = model.model.model[-1]
    head.end2end = end_to_end
    branches = (head.one2one_cv2, head.one2one_cv3) if end_to_end else (head.cv2, head.cv3)
    boxes, scores = ([layers[-1] for layers in branch] for branch in branches)
    # Newer heads answer distances in cells, older ones their distribution.
    spread(model.model, boxes, 0.7, mean=3 if head.reg_max == 1 else 0)
    spread(model.model, scores, 1.0, mean=-3.2)
    path = model.export(format="onnx", imgsz=_SIZE, simplify=False, **({"end2end": True} if end_to_end else {}))
    return Path(path).rename(folder / f"{name}.onnx")


class AnchorHead(nn.Module):
    """YOLOv5's: a convolution a scale, three anchors a cell. Source: Detect in YOLOv5's models/yolo.py."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(count, 3 * (5 + len(_LABELS)), 1) for count in channels)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """The rows of all scales, (1, boxes, 5 + classes), in pixels of the input."""
        rows = []
        for layer, feature, anchors in zip(self.layers, features, _ANCHORS, strict=True):
            height, width = feature.shape[2:]
            stride = _SIZE[0] / height
            raw = layer(feature).view(1, 3, 5 + len(_LABELS), height, width).permute(0, 1, 3, 4, 2).sigmoid()
            grid_y, grid_x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            grid = torch.stack([grid_x, grid_y], dim=2).float()
            centre = (raw[..., :2] * 2 - 0.5 + grid) * stride
            size = (raw[..., 2:4] * 2) ** 2 * torch.tensor(anchors).float().view(1, 3, 1, 1, 2)
            rows.append(torch.cat([centre, size, raw[..., 4:]], dim=4).view(1, -1, 5 + len(_LABELS)))
        return torch.cat(rows, dim=1)


class Yolov5(nn.Module):
    """Ultralytics' YOLOv5 network with the head that it had."""

    def __init__(self) -> None:
        super().__init__()
        self.network = made("yolov5n").model
        old = self.network.model[-1]
        new = AnchorHead([branch[0].conv.in_channels for branch in old.cv2])
        new.f, new.i, new.type = old.f, old.i, "AnchorHead"
        self.network.model[-1] = new

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """See `AnchorHead`."""
        return self.network._predict_once(image)


def export_yolov5(folder: Path) -> tuple[Path, Yolov5]:
    """YOLOv5 with anchors as an ONNX file with the metadata of YOLOv5's own exporter."""
    network = Yolov5()
    layers = list(network.network.model[-1].layers)
    spread(network, layers, 0.8)
    with torch.no_grad():
        for layer in layers:
            layer.bias.view(3, -1)[:, 4] -= 2
            # No slivers: boxes less than a pixel wide overlap all or nothing once they are cut to whole ones.
            layer.bias.view(3, -1)[:, 2:4] *= 0.4
            layer.weight.view(3, 5 + len(_LABELS), -1)[:, 2:4] *= 0.4
    path = folder / "yolov5n.onnx"
    torch.onnx.export(
        network, (torch.zeros(1, 3, *_SIZE),), str(path), input_names=["images"], output_names=["output0"], dynamo=False
    )
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"stride": "32", "names": str(dict(enumerate(_LABELS)))})
    onnx.save(model, path)
    return path, network


def loaded(path: Path, folder: Path, engine: str) -> Detector:
    return load_detector(load_settings(model=str(path), models_dir=folder, engine=engine))


def as_detections(boxes: np.ndarray) -> list[Detection]:
    """Ultralytics' rows (left, top, right, bottom, confidence, class) as the package's own type, all of one colour."""
    return [
        Detection((left, top, right - left, bottom - top), (0, 0, 0), _LABELS[int(label)], confidence)
        for left, top, right, bottom, confidence, label in boxes.tolist()
    ]


def compare(detector: Detector, expected: list[Detection], image: np.ndarray, overlap: float) -> None:
    """Fails unless the detector finds what Ultralytics finds, to the pixels that whole numbers lose.

    What is as good as at the threshold may be above it here and below it there.
    """
    found = detector.predict(image, detector.selection(_CONFIDENCE, overlap, per_class_nms=True))
    # Centre, size and corner each lose up to a pixel.
    tolerances = {"pixels": 3, "confidence": 0.002}
    allowed = _ALLOWED[overlap] * len(expected)
    missing = [line for line in differences(clear(expected), found, **tolerances) if line.startswith("missing")]
    assert len(missing) <= allowed, missing
    extra = [line for line in differences(expected, clear(found), **tolerances) if line.startswith("unexpected")]
    assert len(extra) <= allowed, extra


def clear(answer: list[Detection]) -> list[Detection]:
    return [item for item in answer if item.confidence > _CONFIDENCE + 0.005]


@pytest.fixture(
    scope="module",
    params=[("yolov8n", False), ("yolo11n", False), ("yolov10n", True), ("yolo26n", True)],
    ids=lambda param: param[0],
)
def export(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An exported network."""
    folder = tmp_path_factory.mktemp("export")
    before = Path.cwd()
    # The exporter writes where it is.
    os.chdir(folder)
    yield exported(*request.param, folder)
    os.chdir(before)


@pytest.mark.parametrize("engine", ENGINES)
def test_boxes_are_those_of_ultralytics_predictor(export: Path, tmp_path: Path, engine: str) -> None:
    overrides = {"conf": _CONFIDENCE, "max_det": 2000, "save": False, "verbose": False, "device": "cpu"}
    predictor = DetectionPredictor(overrides=overrides)
    predictor.setup_model(str(export))
    # Its warm-up imports torchvision.
    predictor.done_warmup = True
    detector = loaded(export, tmp_path, engine)
    assert detector.model.labels == _LABELS
    total = 0
    for kind, overlap in itertools.product(_PICTURES, _ALLOWED):
        image = picture(kind)
        predictor.args.iou = overlap
        boxes = predictor(source=image)[0].boxes.data.numpy()
        total += len(boxes)
        compare(detector, as_detections(boxes), image, overlap)
    assert total >= 40
    print(f"{export.stem} on {engine}: {total} boxes agree")


@pytest.mark.parametrize("engine", ENGINES)
def test_boxes_of_yolov5_with_anchors(tmp_path: Path, engine: str) -> None:
    path, network = export_yolov5(tmp_path)
    detector = loaded(path, tmp_path / "models", engine)
    assert detector.model.head.form == "yolov5"
    total = 0
    for kind, overlap in itertools.product(_PICTURES, _ALLOWED):
        image = picture(kind)
        with torch.no_grad():
            rows = network(fitted(image))
        # In the form that today's non-maximum suppression takes.
        scores = rows[..., 5:] * rows[..., 4:5]
        answer = torch.cat([rows[..., :4], scores], 2).transpose(1, 2)
        chosen = nms.non_max_suppression(answer, _CONFIDENCE, overlap, max_det=2000)[0]
        chosen[:, :4] = ops.scale_boxes(_SIZE, chosen[:, :4], image.shape)
        total += len(chosen)
        compare(detector, as_detections(chosen.numpy()), image, overlap)
    assert total >= 40
    print(f"yolov5n with anchors on {engine}: {total} boxes agree")


def test_sides_that_an_export_leaves_open_are_fixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = made("yolov8n").export(format="onnx", imgsz=_SIZE, simplify=False, dynamic=True)
    for engine in ENGINES:
        detector = loaded(f"{path}@192x160", tmp_path / "models", engine)
        assert detector.engine.input_size == (160, 192)
        assert "finite" in detector.check()


@pytest.mark.parametrize("task", ["seg", "pose", "obb", "cls"])
def test_other_tasks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = YOLO(f"yolo11n-{task}.yaml").export(format="onnx", imgsz=64, simplify=False)
    with pytest.raises(ModelError, match="only detection"):
        prepare(find_source(str(path)), tmp_path / "models")
