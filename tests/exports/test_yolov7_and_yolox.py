"""Networks in the forms of YOLOv7's and YOLOX's exporters: the boxes that these decode on the same picture.

Neither package can be installed with today's PyTorch, and both need their own networks. So the heads are written here
after theirs, on one of Ultralytics' networks with random weights, and exported with the names and the options of
their scripts: Detect in YOLOv7's models/yolo.py, End2End in its models/experimental.py, its export.py; YOLOXHead in
YOLOX's models/yolo_head.py, preproc in its data/data_augment.py, its tools/export_onnx.py.

Exports by both projects' own code were compared once, without suppression. The 948 boxes of YOLOv7-tiny agree. So do
those of a narrow YOLOX, but for boxes outside of the picture, and for the smallest picture, whose boxes were too
dense to pair.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from ultralytics.utils import ops

from barevision.detector import Detector
from barevision.engines import ENGINES
from tests.exports.networks import (
    ALLOWED,
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

# The exporter warns of its own deprecation.
pytestmark = pytest.mark.filterwarnings("ignore")

_ROW = 5 + len(LABELS)
_STRIDES = (8, 16, 32)
_ANCHORS = [[12, 16, 19, 36, 40, 28], [36, 75, 76, 55, 72, 146], [142, 110, 192, 243, 459, 401]]


def grid(stride: int) -> torch.Tensor:
    """The cells of a stride, float32 (height, width, 2): column and row."""
    rows, columns = torch.meshgrid(*(torch.arange(side // stride) for side in SIZE), indexing="ij")
    return torch.stack([columns, rows], dim=2).float()


class Yolov7Head(nn.Module):
    """A convolution a scale, three anchors a cell, decoded as with --grid."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(count, 3 * _ROW, 1) for count in channels)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """The rows of all scales, (1, boxes, 5 + classes), in pixels of the input."""
        rows = []
        for layer, feature, anchors, stride in zip(self.layers, features, _ANCHORS, _STRIDES, strict=True):
            batch, _, height, width = feature.shape
            cells = layer(feature).view(batch, 3, _ROW, height, width).permute(0, 1, 3, 4, 2).sigmoid()
            centre, size, scores = cells.split((2, 2, 1 + len(LABELS)), 4)
            centre = centre * (2 * stride) + stride * (grid(stride) - 0.5)
            size = size**2 * (4 * torch.tensor(anchors).float().view(1, 3, 1, 1, 2))
            rows.append(torch.cat([centre, size, scores], 4).view(batch, -1, _ROW))
        return torch.cat(rows, 1)


class YoloxHead(nn.Module):
    """Convolutions of their own for boxes, objectness and classes, one box a cell.

    :ivar decodes: as with --decode_in_inference.
    """

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.boxes, self.objectness, self.classes = (
            nn.ModuleList(nn.Conv2d(count, wanted, 1) for count in channels) for wanted in (4, 1, len(LABELS))
        )
        self.decodes = False

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """The rows of all scales, (1, boxes, 5 + classes), decoded or not."""
        scales = [
            torch.cat([boxes(feature), objectness(feature).sigmoid(), classes(feature).sigmoid()], 1)
            for feature, boxes, objectness, classes in zip(
                features, self.boxes, self.objectness, self.classes, strict=True
            )
        ]
        answer = torch.cat([scale.flatten(start_dim=2) for scale in scales], dim=2).permute(0, 2, 1)
        if not self.decodes:
            return answer
        cells = torch.cat([grid(stride).view(1, -1, 2) for stride in _STRIDES], 1)
        strides = torch.cat([torch.full((1, grid(stride).numel() // 2, 1), float(stride)) for stride in _STRIDES], 1)
        centre, size = (answer[..., :2] + cells) * strides, torch.exp(answer[..., 2:4]) * strides
        return torch.cat([centre, size, answer[..., 4:]], -1)


class WithHead(nn.Module):
    """Ultralytics' YOLOv5 network with another head."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.network = made("yolov5n").model
        old = self.network.model[-1]
        self.head = kind([branch[0].conv.in_channels for branch in old.cv2])
        self.head.f, self.head.i, self.head.type = old.f, old.i, kind.__name__
        self.network.model[-1] = self.head

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """See the head."""
        return self.network._predict_once(image)


class OrtSuppression(torch.autograd.Function):
    """ONNX's NonMaxSuppression, which PyTorch has no function for; at the export only the shape counts."""

    @staticmethod
    def forward(context: object, boxes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return torch.zeros((3, 3), dtype=torch.int64)

    @staticmethod
    def symbolic(graph: object, boxes: object, scores: object) -> object:
        limits = (torch.tensor([100]), torch.tensor([0.45]), torch.tensor([0.25]))
        return graph.op("NonMaxSuppression", boxes, scores, *(graph.op("Constant", value_t=value) for value in limits))


class TensorrtSuppression(torch.autograd.Function):
    """TensorRT's, with its four answers."""

    @staticmethod
    def forward(context: object, boxes: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, ...]:
        integers = torch.int32
        return (
            torch.zeros((1, 1), dtype=integers),
            torch.zeros((1, 100, 4)),
            torch.zeros((1, 100)),
            torch.zeros((1, 100), dtype=integers),
        )

    @staticmethod
    def symbolic(graph: object, boxes: object, scores: object) -> object:
        options = {"background_class_i": -1, "box_coding_i": 1, "max_output_boxes_i": 100, "plugin_version_s": "1"}
        options |= {"iou_threshold_f": 0.45, "score_threshold_f": 0.25, "score_activation_i": 0}
        return graph.op("TRT::EfficientNMS_TRT", boxes, scores, **options, outputs=4)


class EndToEnd(nn.Module):
    """YOLOv7 with --end2end: for TensorRT, or with --max-wh for ONNX Runtime."""

    def __init__(self, model: nn.Module, max_wh: int | None) -> None:
        super().__init__()
        self.model, self.max_wh = model, max_wh

    def forward(self, image: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """What is left of the rows."""
        rows = self.model(image)
        boxes, scores = rows[..., :4], rows[..., 5:] * rows[..., 4:5]
        if self.max_wh is None:
            return TensorrtSuppression.apply(boxes, scores)
        boxes = boxes @ torch.tensor([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]])
        best, label = scores.max(2, keepdim=True)
        chosen = OrtSuppression.apply(boxes + label.float() * self.max_wh, best.transpose(1, 2).contiguous())
        image, row = chosen[:, 0], chosen[:, 2]
        found = [image.unsqueeze(1).float(), boxes[image, row], label[image, row].float(), best[image, row]]
        return torch.cat(found, 1)


def yolox_fitted(image: np.ndarray) -> torch.Tensor:
    """The network's input as YOLOX's preproc makes it: float32 (1, 3, height, width), BGR, 0 to 255."""
    scale = min(SIZE[0] / image.shape[0], SIZE[1] / image.shape[1])
    height, width = int(image.shape[0] * scale), int(image.shape[1] * scale)
    framed = np.full((*SIZE, 3), 114, np.uint8)
    framed[:height, :width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(framed.transpose(2, 0, 1)[None].copy()).float()


def write(model: nn.Module, folder: Path, outputs: list[str]) -> Path:
    """`model` as both scripts export it, with the names of its classes beside it."""
    path = folder / "best.onnx"
    options = {"input_names": ["images"], "output_names": outputs, "opset_version": 12, "dynamo": False}
    torch.onnx.export(model, (torch.zeros(1, 3, *SIZE),), str(path), **options)
    path.with_suffix(".names").write_text("\n".join(LABELS))
    return path


def compare_rows(
    detector: Detector,
    rows_of: Callable[[torch.Tensor], torch.Tensor],
    fit: Callable[[np.ndarray], torch.Tensor],
    overlaps: list[float],
    limit: int | None = None,
) -> None:
    """Fails unless the detector finds on all pictures what `rows_of` answers for the input that `fit` makes.

    :param limit: how many boxes the network itself leaves.
    """
    total = 0
    for kind, overlap in itertools.product(PICTURES, overlaps):
        image = picture(kind)
        if kind == "tiny" and limit is None and overlap < 1:
            # Its boxes have ten pixels: cut to whole ones, too many overlap otherwise.
            continue
        with torch.no_grad():
            chosen = suppressed(rows_of(fit(image)), overlap)[:limit]
        if fit is yolox_fitted:
            chosen[:, :4] /= min(SIZE[0] / image.shape[0], SIZE[1] / image.shape[1])
            ops.clip_boxes(chosen, image.shape)
        else:
            chosen[:, :4] = ops.scale_boxes(SIZE, chosen[:, :4], image.shape)
        total += len(chosen)
        compare(detector, as_detections(chosen.numpy()), image, overlap)
    assert total >= 40


@pytest.fixture(scope="module")
def yolov7() -> WithHead:
    """YOLOv7's head with weights that find some tens of boxes."""
    model = WithHead(Yolov7Head)
    layers = list(model.head.layers)
    spread(model, layers, 0.8)
    with torch.no_grad():
        for layer in layers:
            layer.bias.view(3, -1)[:, 4] -= 2
            # No slivers: boxes less than a pixel wide overlap all or nothing once they are cut to whole ones.
            layer.bias.view(3, -1)[:, 2:4] *= 0.4
            layer.weight.view(3, _ROW, -1)[:, 2:4] *= 0.4
    return model


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["grid", "tensorrt", "chosen"])
def test_boxes_of_yolov7(yolov7: WithHead, tmp_path: Path, kind: str, engine: str) -> None:
    if (kind, engine) == ("chosen", "opencv"):
        pytest.skip("OpenCV is not given a non-maximum suppression")
    tensorrt = ["num_dets", "det_boxes", "det_scores", "det_classes"]
    exports = {
        "grid": (yolov7, ["output"], ALLOWED),
        "tensorrt": (EndToEnd(yolov7, None).eval(), tensorrt, ALLOWED),
        "chosen": (EndToEnd(yolov7, 640).eval(), ["output"], [0.45]),
    }
    model, outputs, overlaps = exports[kind]
    detector = loaded(write(model, tmp_path, outputs), tmp_path / "models", engine)
    compare_rows(detector, yolov7, fitted, list(overlaps), 100 if kind == "chosen" else None)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("decodes", [False, True])
def test_boxes_of_yolox(tmp_path: Path, decodes: bool, engine: str) -> None:
    model = WithHead(YoloxHead)
    settle(model, yolox_fitted)
    head = model.head
    spread(model, list(head.boxes), 0.6, mean=0.8, fit=yolox_fitted)
    spread(model, list(head.objectness), 1.0, mean=-1, fit=yolox_fitted)
    spread(model, list(head.classes), 1.0, fit=yolox_fitted)
    head.decodes = decodes
    detector = loaded(write(model, tmp_path, ["output"]), tmp_path / "models", engine)
    assert detector.model.head.form == ("yolov5" if decodes else "yolox")
    head.decodes = True
    compare_rows(detector, model, yolox_fitted, list(ALLOWED))
