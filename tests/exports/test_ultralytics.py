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

import onnx
import pytest
from onnxruntime.transformers.float16 import convert_float_to_float16
from ultralytics import RTDETR, YOLO
from ultralytics.engine.predictor import BasePredictor
from ultralytics.models.rtdetr import RTDETRPredictor
from ultralytics.models.yolo.detect import DetectionPredictor
from ultralytics.nn.tasks import RTDETRDetectionModel
from ultralytics.utils import ops

from barevision.engines import ENGINES
from barevision.errors import ModelError
from barevision.models.catalogue import find_source
from barevision.models.prepare import prepare
from tests.exports.networks import (
    ALLOWED,
    CONFIDENCE,
    LABELS,
    PICTURES,
    SIZE,
    as_detections,
    compare,
    fitted,
    loaded,
    made,
    nn,
    picture,
    settle,
    spread,
    suppressed,
    torch,
)

# The exporters warn of their own deprecations.
pytestmark = pytest.mark.filterwarnings("ignore")

_ANCHORS = [[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119], [116, 90, 156, 198, 373, 326]]


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
    path = model.export(format="onnx", imgsz=SIZE, simplify=False, **({"end2end": True} if end_to_end else {}))
    return Path(path).rename(folder / f"{name}.onnx")


class AnchorHead(nn.Module):
    """YOLOv5's: a convolution a scale, three anchors a cell. Source: Detect in YOLOv5's models/yolo.py."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(count, 3 * (5 + len(LABELS)), 1) for count in channels)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """The rows of all scales, (1, boxes, 5 + classes), in pixels of the input."""
        rows = []
        for layer, feature, anchors in zip(self.layers, features, _ANCHORS, strict=True):
            height, width = feature.shape[2:]
            stride = SIZE[0] / height
            raw = layer(feature).view(1, 3, 5 + len(LABELS), height, width).permute(0, 1, 3, 4, 2).sigmoid()
            grid_y, grid_x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            grid = torch.stack([grid_x, grid_y], dim=2).float()
            centre = (raw[..., :2] * 2 - 0.5 + grid) * stride
            size = (raw[..., 2:4] * 2) ** 2 * torch.tensor(anchors).float().view(1, 3, 1, 1, 2)
            rows.append(torch.cat([centre, size, raw[..., 4:]], dim=4).view(1, -1, 5 + len(LABELS)))
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
            layer.weight.view(3, 5 + len(LABELS), -1)[:, 2:4] *= 0.4
    path = folder / "yolov5n.onnx"
    torch.onnx.export(
        network, (torch.zeros(1, 3, *SIZE),), str(path), input_names=["images"], output_names=["output0"], dynamo=False
    )
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"stride": "32", "names": str(dict(enumerate(LABELS)))})
    onnx.save(model, path)
    return path, network


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
    total = compare_with(DetectionPredictor, export, tmp_path, engine)
    assert total >= 40
    print(f"{export.stem} on {engine}: {total} boxes agree")


def compare_with(kind: type[BasePredictor], export: Path, folder: Path, engine: str, precision: float = 0.002) -> int:
    """Fails unless the boxes on all pictures are those of Ultralytics' predictor of this kind; returns their number."""
    overrides = {"conf": CONFIDENCE, "max_det": 2000, "save": False, "verbose": False, "device": "cpu"}
    predictor = kind(overrides=overrides)
    predictor.setup_model(str(export))
    # Its warm-up imports torchvision.
    predictor.done_warmup = True
    detector = loaded(export, folder, engine)
    assert detector.model.labels == LABELS
    total = 0
    for kind, overlap in itertools.product(PICTURES, ALLOWED):
        image = picture(kind)
        predictor.args.iou = overlap
        boxes = predictor(source=image)[0].boxes.data.numpy()
        total += len(boxes)
        compare(detector, as_detections(boxes), image, overlap, precision)
    return total


@pytest.mark.parametrize("engine", ENGINES)
def test_boxes_of_rtdetr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(7)
    model = RTDETR("rtdetr-resnet50.yaml")
    network = RTDETRDetectionModel("rtdetr-resnet50.yaml", nc=len(LABELS), verbose=False)
    network.names, network.args, network.task = dict(enumerate(LABELS)), model.model.args, "detect"
    model.model = network
    settle(network)
    with torch.no_grad():
        head = network.model[-1]
        for layer in (head.dec_score_head[-1], head.dec_bbox_head[-1].layers[-1]):
            torch.nn.init.normal_(layer.weight, std=0.1)
        torch.nn.init.constant_(head.dec_score_head[-1].bias, -2)
    path = Path(model.export(format="onnx", imgsz=SIZE, simplify=False))
    total = compare_with(RTDETRPredictor, path, tmp_path, engine)
    assert total >= 40
    print(f"RT-DETR on {engine}: {total} boxes agree")


@pytest.mark.parametrize("keeps_types", [True, False])
def test_boxes_of_half_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keeps_types: bool) -> None:
    """As Ultralytics' exporter does it on a processor, and with float16 in and out as it does on a GPU."""
    monkeypatch.chdir(tmp_path)
    path = exported("yolov8n", False, tmp_path)
    onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=keeps_types), path)
    # OpenCV has no upsampling in half precision.
    assert compare_with(DetectionPredictor, path, tmp_path, "onnxruntime", precision=0.02) >= 40


@pytest.mark.parametrize("engine", ENGINES)
def test_boxes_of_yolov5_with_anchors(tmp_path: Path, engine: str) -> None:
    path, network = export_yolov5(tmp_path)
    detector = loaded(path, tmp_path / "models", engine)
    assert detector.model.head.form == "yolov5"
    total = 0
    for kind, overlap in itertools.product(PICTURES, ALLOWED):
        image = picture(kind)
        with torch.no_grad():
            rows = network(fitted(image))
        chosen = suppressed(rows, overlap)
        chosen[:, :4] = ops.scale_boxes(SIZE, chosen[:, :4], image.shape)
        total += len(chosen)
        compare(detector, as_detections(chosen.numpy()), image, overlap)
    assert total >= 40
    print(f"yolov5n with anchors on {engine}: {total} boxes agree")


def test_sides_that_an_export_leaves_open_are_fixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = made("yolov8n").export(format="onnx", imgsz=SIZE, simplify=False, dynamic=True)
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
