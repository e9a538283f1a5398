"""Reads networks that come as ONNX files: our own, and those that Ultralytics' packages export.

The names of the classes, the task and the input's size are in the file's metadata, where Ultralytics' exporter puts
them as the text of Python literals. Source: export_onnx in Ultralytics' engine/exporter.py, and in YOLOv5's export.py.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from barevision.detection.network_output import Head
from barevision.errors import EngineError, ModelError
from barevision.network_limits import LARGEST_OUTPUT, LARGEST_SIDE

#: Part of a prepared model's name: raise it whenever the same .onnx gives another prepared file or head.
READER_VERSION = 1

# protobuf itself holds no more than 2 GiB. The rest is far above every published detector.
_MAX_BYTES = 2**30
_MAX_NODES = 20_000
_MAX_CLASSES = 10_000
_MAX_TEXT = 2**20


@dataclass(frozen=True)
class Network:
    """A detector as one ONNX file, and how to use it.

    :ivar data: the file for the engines, every side a fixed number.
    :ivar labels: one name a class.
    :ivar head: what its answer means.
    """

    data: bytes
    labels: list[str]
    head: Head


def read_onnx_file(path: Path, size: tuple[int, int] | None = None) -> Network:
    """The detector in the ONNX file `path`.

    :param size: (height, width) of the input in pixels, for a file that leaves it open.
    :raises ModelError: the file is damaged, is not a detector, or answers in a form that is not known here.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise ModelError(f"{path.name} has {path.stat().st_size} bytes, at most {_MAX_BYTES} are allowed")
    try:
        # From bytes, so that no reference to another file is ever followed.
        model = onnx.load_model_from_string(path.read_bytes())
    except DecodeError:
        model = onnx.ModelProto()
    if not model.graph.node:
        raise ModelError(f"{path.name} is not an ONNX file, or is damaged or cut short")
    try:
        return _read(model, size)
    except ModelError as error:
        raise ModelError(f"{path.name} {error}") from None


def _read(model: onnx.ModelProto, size: tuple[int, int] | None) -> Network:
    """As `read_onnx_file`. The errors, here and below, are sentences whose subject is the file."""
    _check_graphs(model)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    _fix_input(model, metadata, size)
    # Before the labels, because an export of another task may have no names and the task is the better explanation.
    task = metadata.get("task", "detect")
    if task != "detect":
        raise ModelError(f"is a network for the task {task[:40]!r}; only detection (boxes) is served here")
    outputs = len(model.graph.output)
    if outputs != 1:
        raise ModelError(
            f"has {outputs} outputs, expected one; is it a network for another task than detection, or YOLOv5's export "
            "with its training outputs?"
        )
    labels = _read_labels(metadata)
    head = _recognize_head(model, metadata, len(labels))
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ModelError(f"is damaged: {str(error).splitlines()[0]}") from None
    return Network(model.SerializeToString(), labels, head)


def _check_graphs(model: onnx.ModelProto) -> None:
    """Checks the number of nodes, and that no weights are kept in other files, in all graphs of the file."""
    count = 0
    waiting: list[onnx.GraphProto | onnx.FunctionProto] = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        count += len(graph.node)
        if count > _MAX_NODES:
            raise ModelError(f"has more than {_MAX_NODES} nodes")
        attributes = [attribute for node in graph.node for attribute in node.attribute]
        tensors = [attribute.t for attribute in attributes if attribute.HasField("t")]
        tensors += [tensor for attribute in attributes for tensor in attribute.tensors]
        if isinstance(graph, onnx.GraphProto):
            tensors += graph.initializer
            tensors += [tensor for sparse in graph.sparse_initializer for tensor in (sparse.values, sparse.indices)]
        if any(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data for tensor in tensors):
            raise ModelError("keeps its weights in other files (external data); export it as one file")
        # The branches of a node, such as If, are graphs themselves.
        waiting += [attribute.g for attribute in attributes if attribute.HasField("g")]
        waiting += [branch for attribute in attributes for branch in attribute.graphs]


def _fix_input(model: onnx.ModelProto, metadata: dict[str, str], size: tuple[int, int] | None) -> None:
    """Leaves one input with four fixed sides. A side that the file leaves open becomes that of `size`, or of imgsz."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise ModelError(f"has {len(inputs)} inputs, expected one image")
    # Old exporters list constants among the inputs.
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    tensor = model.graph.input[0].type.tensor_type
    dims = tensor.shape.dim
    if tensor.elem_type != TensorProto.FLOAT or len(dims) != 4:
        raise ModelError("has an input that is not float32 (1, 3, height, width); export it without half or int8")

    # The number of an open side reads as 0, or is -1.
    open_dims = [dim for dim in dims if dim.dim_value < 1]
    default_size = size or _read_image_size(metadata)
    if default_size is None and min(dims[2].dim_value, dims[3].dim_value) < 1:
        raise ModelError("leaves its input's size open; say one (FILE.onnx@640) or export it with dynamic=False")
    for dim, default in zip(dims, (1, 3, *(default_size or (0, 0))), strict=True):
        if dim.dim_value < 1:
            dim.dim_value = default

    batch, channels, height, width = (dim.dim_value for dim in dims)
    if (batch, channels) != (1, 3):
        raise ModelError(f"takes {batch} images of {channels} channels, expected 1 of 3; export it with batch=1")
    if max(height, width) > LARGEST_SIDE:
        raise ModelError(f"takes images of {width}x{height}, at most {LARGEST_SIDE} pixels a side are allowed")
    if size and size != (height, width):
        raise ModelError(
            f"takes images of {width}x{height} only, not of {size[1]}x{size[0]}; export it again with another imgsz"
        )
    if open_dims:
        _fix_outputs(model, (batch, channels, height, width))


def _read_image_size(metadata: dict[str, str]) -> tuple[int, int] | None:
    """The (height, width) that the network was exported for; None if the metadata does not say."""
    size = _read_literal(metadata, "imgsz")
    if isinstance(size, int):
        size = [size, size]
    if not isinstance(size, (list, tuple)) or len(size) != 2 or not all(isinstance(side, int) for side in size):
        return None
    return (size[0], size[1]) if min(size) > 0 else None


def _fix_outputs(model: onnx.ModelProto, shape: tuple[int, int, int, int]) -> None:
    """Writes down the shapes of the outputs for an input of `shape`, which a graph with open sides computes as it runs.

    What the file says about values on the way was said about open sides, and is removed.
    """
    # ONNX Runtime takes a good part of a second to import, and only a file with open sides needs it.
    from barevision.engines.onnx_runtime import answer_shapes

    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        shapes = answer_shapes(model.SerializeToString(), np.zeros(shape, np.float32))
    except EngineError as error:
        raise ModelError(
            f"leaves its input's size open and does not run at {shape[3]}x{shape[2]}: "
            f"{str(error).splitlines()[0][:200]}; export it with dynamic=False"
        ) from None
    for value, output_shape in zip(model.graph.output, shapes, strict=True):
        for side in output_shape:
            value.type.tensor_type.shape.dim.add(dim_value=side)


def _read_labels(metadata: dict[str, str]) -> list[str]:
    if "labels" in metadata:
        try:
            names = json.loads(metadata["labels"][:_MAX_TEXT])
        except (ValueError, RecursionError):
            names = None
    else:
        names = _read_literal(metadata, "names")
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ModelError("has no names of classes in its metadata; export it with Ultralytics' exporter")
    if len(names) > _MAX_CLASSES:
        raise ModelError(f"has {len(names)} classes, at most {_MAX_CLASSES} are allowed")
    return names


def _read_literal(metadata: dict[str, str], key: str) -> object:
    """The Python literal that the metadata has at `key`, or None. Never evaluated."""
    text = metadata.get(key, "")
    try:
        return ast.literal_eval(text) if len(text) <= _MAX_TEXT else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _recognize_head(model: onnx.ModelProto, metadata: dict[str, str], classes: int) -> Head:
    """What the network's one output means, by its shape (1, a, b) and the metadata."""
    tensor = model.graph.output[0].type.tensor_type
    dims = [dim.dim_value for dim in tensor.shape.dim]
    if tensor.elem_type != TensorProto.FLOAT:
        raise ModelError("does not answer float32; export it without half or int8")
    if len(dims) != 3 or min(dims) < 1 or dims[0] != 1:
        shown = ", ".join(str(dim or "?") for dim in dims)
        raise ModelError(
            f"answers ({shown}), expected the boxes of one image as (1, a, b) with fixed numbers a and b; "
            "export it with dynamic=False and batch=1"
        )
    _, a, b = dims
    if a * b > LARGEST_OUTPUT:
        raise ModelError(f"answers {a * b} numbers, at most {LARGEST_OUTPUT} are allowed")

    if model.producer_name == "barevision" and b == 4 + classes:
        return Head("relative", "darknet-letterbox" if metadata.get("fit") == "darknet-letterbox" else "stretch")
    arguments = _read_literal(metadata, "args")
    has_nms = metadata.get("end2end") == "True" or (isinstance(arguments, dict) and arguments.get("nms") is True)
    # With one class, YOLOv5's rows have six numbers as well. Its exporter names no task, Ultralytics' does.
    if b == 6 and (has_nms or classes != 1 or "task" in metadata):
        return Head("end-to-end", "letterbox")
    if a == 4 + classes and b != 5 + classes:
        return Head("yolov8", "letterbox")
    if b == 5 + classes:
        return Head("yolov5", "letterbox")
    raise ModelError(
        f"answers (1, {a}, {b}), which is not a form that is known for {classes} classes: "
        f"(1, {4 + classes}, N) of YOLOv8 and YOLO11, (1, N, {5 + classes}) of YOLOv5, (1, N, 6) with NMS inside"
    )
