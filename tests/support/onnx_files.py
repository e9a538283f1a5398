"""ONNX networks made up for a test: some answer what is given, whatever the picture, and some find coloured squares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

#: As Ultralytics' exporter writes it.
METADATA = {"task": "detect", "names": "{0: 'cat', 1: 'dog', 2: 'cow'}", "stride": "32", "imgsz": "[64, 96]"}


def network(
    answer: np.ndarray,
    metadata: dict[str, str] | None = None,
    size: tuple[int | str, int | str] = (64, 96),
    batch: int | str = 1,
    producer: str = "pytorch",
) -> onnx.ModelProto:
    """A network that answers `answer` (a, b) for a picture of `size` (height, width)."""
    constant = numpy_helper.from_array(np.asarray(answer, np.float32)[None], "answer")
    zero = numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["answer", "nothing"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "made up",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, (batch, 3, *size))],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, (1, *np.shape(answer)))],
        [constant, zero],
    )
    model = helper.make_model(graph, producer_name=producer, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, METADATA if metadata is None else metadata)
    return model


def as_half(model: onnx.ModelProto, keeps_types: bool) -> onnx.ModelProto:
    """`model` (of `network`) in half precision, as a converter writes it.

    :param keeps_types: whether it still takes and answers float32. The nodes for it are at the end, as those of ONNX
        Runtime's converter are, and not where their values are taken.
    """
    graph = model.graph
    for number, tensor in enumerate(graph.initializer):
        half = numpy_helper.to_array(tensor).astype(np.float16)
        graph.initializer[number].CopyFrom(numpy_helper.from_array(half, tensor.name))
    if keeps_types:
        graph.node[0].input[0], graph.node[-1].output[0] = "images_half", "output0_half"
        graph.node.append(helper.make_node("Cast", ["output0_half"], ["output0"], to=TensorProto.FLOAT))
        graph.node.append(helper.make_node("Cast", ["images"], ["images_half"], to=TensorProto.FLOAT16))
    else:
        for value in (*graph.input, *graph.output):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return model


class _Nodes:
    """A graph while it is written: each method adds a node, and returns the name of the value that it makes."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def __call__(self, op: str, *inputs: str | np.ndarray, outputs: int = 0, **attributes: object) -> str | list[str]:
        """The value, or a list of them where `outputs` says how many; an array among the inputs is a constant."""
        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        made = [f"{op}_{len(self.nodes)}_{number}" for number in range(max(1, outputs))]
        self.nodes.append(helper.make_node(op, names, made, **attributes))
        return made if outputs else made[0]

    def _constant(self, array: np.ndarray) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def model(self, size: tuple[int, int], outputs: dict[str, tuple[int | str, ...] | None]) -> onnx.ModelProto:
        """The network without metadata whose `outputs` (name by value) are all of type float32."""
        graph = helper.make_graph(
            self.nodes,
            "made up",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, (1, 3, *size))],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
            self.constants,
        )
        return helper.make_model(
            graph, producer_name="pytorch", opset_imports=[helper.make_opsetid("", 12)], ir_version=8
        )


#: What networks of `square_finder` find: squares of their small cells, 8 pixels, twice as wide as high.
SQUARE_CLASSES = ["blue", "red"]
_SIZE, _STRIDES, _ANCHORS = (64, 96), (8, 16, 32), 3


def square_finder(kind: str) -> onnx.ModelProto:
    """A network for 96x64 pixels that finds blue and red squares of 8 pixels in black, in the form of an exporter.

    A square has to fill a cell. It is answered twice as wide as it is, so that width and height can't be mixed up.

    :param kind: "yolox" or "yolox-decoded": YOLOX's tools/export_onnx.py without and with --decode_in_inference.
        "yolov7": YOLOv7's export.py --grid. "yolov7-heads": without. "yolov7-and-heads": both, as before --grid had one
        output. "yolov7-tensorrt": --grid --end2end. "yolov7-chosen": with --max-wh 640 as well.
    """
    nodes, is_yolox = _Nodes(), kind.startswith("yolox")
    # YOLOX is given BGR from 0 to 255, the others RGB from 0 to 1.
    scale = 1 / 255 if is_yolox else 1
    blue, red = (0, 2) if is_yolox else (2, 0)
    heads = []
    for stride in _STRIDES:
        kernel = np.zeros((7, 3, stride, stride), np.float32)
        bias = np.zeros(7, np.float32)
        if is_yolox:
            bias[:4] = 0.5, 0.5, np.log(2 * 8 / stride), np.log(8 / stride)
        # The objectness of a cell that is full of one colour is positive, but only of the smallest cells.
        kernel[4], bias[4] = 40 * scale / stride**2, -20 if stride == 8 else -1000
        kernel[5, blue], kernel[6, red] = 40 * scale / stride**2, 40 * scale / stride**2
        bias[5:] = -20
        if not is_yolox:
            # The square's anchor is the second of three.
            kernel, bias = np.tile(kernel, (_ANCHORS, 1, 1, 1)), np.tile(bias, _ANCHORS)
            bias[[4, 7 * 2 + 4]] = -1000
        heads.append((stride, kernel, bias))
    answer, *others = (_yolox if is_yolox else _yolov7)(nodes, heads, kind)
    return nodes.model(_SIZE, {answer: None, **dict.fromkeys(others)})


def _yolox(nodes: _Nodes, heads: list[tuple[int, np.ndarray, np.ndarray]], kind: str) -> list[str]:
    """Source: YOLOXHead.forward and decode_outputs in YOLOX's models/yolo_head.py."""
    rows, grids = [], []
    for stride, kernel, bias in heads:
        parts = [slice(0, 4), slice(4, 5), slice(5, 7)]
        box, objectness, scores = (
            nodes("Conv", "images", kernel[part], bias[part], strides=[stride, stride]) for part in parts
        )
        cells = nodes("Concat", box, nodes("Sigmoid", objectness), nodes("Sigmoid", scores), axis=1)
        rows.append(nodes("Reshape", cells, np.array([1, 7, -1])))
        grids += [(x, y, stride) for y in range(_SIZE[0] // stride) for x in range(_SIZE[1] // stride)]
    answer = nodes("Transpose", nodes("Concat", *rows, axis=2), perm=[0, 2, 1])
    if kind == "yolox":
        return [answer]
    grid = np.array(grids, np.float32)[None]
    centre, size, scores = nodes("Split", answer, outputs=3, axis=2, split=[2, 2, 3])
    centre = nodes("Mul", nodes("Add", centre, grid[..., :2]), grid[..., 2:])
    return [nodes("Concat", centre, nodes("Mul", nodes("Exp", size), grid[..., 2:]), scores, axis=2)]


def _yolov7(nodes: _Nodes, heads: list[tuple[int, np.ndarray, np.ndarray]], kind: str) -> list[str]:
    """Source: IDetect.fuseforward in YOLOv7's models/yolo.py, ONNX_ORT and ONNX_TRT in its models/experimental.py."""
    raw, rows = [], []
    for stride, kernel, bias in heads:
        height, width = (side // stride for side in _SIZE)
        cells = nodes("Conv", "images", kernel, bias, strides=[stride, stride])
        cells = nodes("Reshape", cells, np.array([1, _ANCHORS, 7, height, width]))
        raw.append(nodes("Transpose", cells, perm=[0, 1, 3, 4, 2]))
        centre, size, scores = nodes("Split", nodes("Sigmoid", raw[-1]), outputs=3, axis=4, split=[2, 2, 3])
        y, x = np.indices((height, width), np.float32)
        grid = np.stack([x, y], axis=2)[None, None]
        centre = nodes("Add", nodes("Mul", centre, np.float32(2 * stride)), (grid - 0.5) * np.float32(stride))
        anchors = np.array([[10, 13], [16, 8], [33, 23]], np.float32).reshape(1, _ANCHORS, 1, 1, 2)
        size = nodes("Mul", nodes("Pow", size, np.float32(2)), 4 * anchors)
        rows.append(nodes("Reshape", nodes("Concat", centre, size, scores, axis=4), np.array([1, -1, 7])))
    if kind == "yolov7-heads":
        return raw
    answer = nodes("Concat", *rows, axis=1)
    if kind == "yolov7":
        return [answer]
    if kind == "yolov7-and-heads":
        return [answer, *raw]
    boxes, objectness, scores = nodes("Split", answer, outputs=3, axis=2, split=[4, 1, 2])
    scores = nodes("Mul", scores, objectness)
    if kind == "yolov7-tensorrt":
        options = {"background_class": -1, "box_coding": 1, "max_output_boxes": 100, "score_activation": 0}
        return nodes("EfficientNMS_TRT", boxes, scores, outputs=4, domain="TRT", plugin_version="1", **options)
    to_corners = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]], np.float32)
    boxes = nodes("MatMul", boxes, to_corners)
    best = nodes("ReduceMax", scores, axes=[2])
    label = nodes("Cast", nodes("ArgMax", scores, axis=2), to=TensorProto.FLOAT)
    apart = nodes("Add", boxes, nodes("Mul", label, np.float32(640)))
    limits = (np.array([100]), np.float32([0.45]), np.float32([0.25]))
    chosen = nodes("NonMaxSuppression", apart, nodes("Transpose", best, perm=[0, 2, 1]), *limits)
    image = nodes("Gather", chosen, np.array([0]), axis=1)
    place = nodes("Concat", image, nodes("Gather", chosen, np.array([2]), axis=1), axis=1)
    found = [nodes("GatherND", value, place) for value in (boxes, label, best)]
    return [nodes("Concat", nodes("Cast", image, to=TensorProto.FLOAT), *found, axis=1)]


def run(model: onnx.ModelProto, *inputs: np.ndarray) -> np.ndarray:
    """What `model` answers for `inputs`, in the order in which it declares them; the first output."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))[0]


def write_network(path: Path, model: onnx.ModelProto) -> Path:
    """`model` as the file `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path
