"""Networks that come as ONNX files: our own, and those that Ultralytics' packages export.

The names of the classes, the task and the input's size are in the file's metadata, where Ultralytics' exporter puts
them as the text of Python literals. Source: export_onnx in Ultralytics' engine/exporter.py, and in YOLOv5's export.py.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from barevision.darknet.limits import LARGEST_OUTPUT, LARGEST_SIDE
from barevision.detection.network_output import Head
from barevision.errors import ModelError

#: Part of a prepared model's name: raise it whenever the same .onnx gives another prepared file or head.
READER_VERSION = 1

# protobuf itself holds no more than 2 GiB. The rest is far above every published detector.
MAX_BYTES = 2**30
_MAX_NODES = 20_000
_MAX_CLASSES = 10_000
_MAX_TEXT = 2**20


@dataclass(frozen=True)
class Network:
    """A network as an ONNX file holds it.

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
    :raises ModelError: the file is damaged, no detector, or one whose answer nobody here understands.
    """
    model = _load(path)
    try:
        return _read(model, size)
    except ModelError as error:
        raise ModelError(f"{path.name}: {error}") from None


def _load(path: Path) -> onnx.ModelProto:
    if path.stat().st_size > MAX_BYTES:
        raise ModelError(f"{path.name} has {path.stat().st_size} bytes, allowed are {MAX_BYTES}")
    # From bytes, so that no reference to another file is ever followed.
    data = path.read_bytes()
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError:
        model = onnx.ModelProto()
    if not model.graph.node:
        raise ModelError(f"{path.name} is no ONNX file, or is damaged or cut short")
    return model


def _read(model: onnx.ModelProto, size: tuple[int, int] | None) -> Network:
    _check_nodes(model)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    _fix_input(model, metadata, size)
    # Before labels: an export of another task is told apart from one without names.
    _check_task(model, metadata)
    labels = _labels(metadata)
    shape = _output_shape(model)
    head = _head(model, metadata, shape, len(labels))
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ModelError(f"is damaged: {str(error).splitlines()[0]}") from None
    return Network(model.SerializeToString(), labels, head)


def _check_nodes(model: onnx.ModelProto) -> None:
    count = 0
    for graph in _graphs(model):
        count += len(graph.node)
        if count > _MAX_NODES:
            raise ModelError(f"has more than {_MAX_NODES} nodes")
        for tensor in _tensors(graph):
            if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
                raise ModelError("keeps its weights in other files (external data); export it as one file")


def _graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto | onnx.FunctionProto]:
    """The graph, those inside its nodes, and functions."""
    waiting: list[onnx.GraphProto | onnx.FunctionProto] = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for attribute in (attribute for node in graph.node for attribute in node.attribute):
            waiting += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _tensors(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[TensorProto]:
    if isinstance(graph, onnx.GraphProto):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from ([attribute.t] if attribute.HasField("t") else [])
        yield from attribute.tensors


def _fix_input(model: onnx.ModelProto, metadata: dict[str, str], size: tuple[int, int] | None) -> None:
    """Leaves one input with four fixed sides; of a side that the file leaves open, what `size` or imgsz says."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise ModelError(f"has {len(inputs)} inputs, expected one picture")
    # Old exporters list constants among the inputs.
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    tensor = inputs[0].type.tensor_type
    dims = model.graph.input[0].type.tensor_type.shape.dim
    if tensor.elem_type != TensorProto.FLOAT or len(dims) != 4:
        raise ModelError("its input is no float32 (1, 3, height, width); export it without half or int8")
    open_sides = [not dim.HasField("dim_value") or dim.dim_value < 1 for dim in dims]
    if any(open_sides):
        _close(
            model,
            [None if is_open else dim.dim_value for dim, is_open in zip(dims, open_sides, strict=True)],
            size or _image_size(metadata),
        )
    batch, channels, height, width = (dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim)
    if (batch, channels) != (1, 3):
        raise ModelError(f"takes {batch} pictures of {channels} channels, expected 1 of 3; export it with batch=1")
    if max(height, width) > LARGEST_SIDE:
        raise ModelError(f"its input is {width}x{height}, allowed are {LARGEST_SIDE} pixels a side")
    if size and size != (height, width):
        raise ModelError(
            f"its input is {width}x{height} for good, {size[1]}x{size[0]} is asked for; export it anew with imgsz"
        )


def _close(model: onnx.ModelProto, dims: list[int | None], size: tuple[int, int] | None) -> None:
    """Fixes the open sides of the input, and what follows from them."""
    if (dims[2] is None or dims[3] is None) and size is None:
        raise ModelError("leaves its input's size open; say one (FILE.onnx@640) or export it with dynamic=False")
    fixed = [given or other for given, other in zip(dims, (1, 3, *(size or (0, 0))), strict=True)]
    for dim, side in zip(model.graph.input[0].type.tensor_type.shape.dim, fixed, strict=True):
        dim.dim_value = side
    if max(fixed) > LARGEST_SIDE:
        raise ModelError(f"its input would be {fixed[3]}x{fixed[2]}, allowed are {LARGEST_SIDE} pixels a side")
    # What the file says of values between was said of open sides.
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    _note_answers(model, fixed)


def _note_answers(model: onnx.ModelProto, dims: list[int]) -> None:
    """Writes down how large the answers for an input of `dims` are: graphs with open sides compute it as they run."""
    from barevision.engines.onnx_runtime import answer_shapes
    from barevision.errors import EngineError

    try:
        shapes = answer_shapes(model.SerializeToString(), np.zeros(dims, np.float32))
    except EngineError as error:
        raise ModelError(
            f"leaves its input's size open and does not run at {dims[3]}x{dims[2]}: "
            f"{str(error).splitlines()[0][:200]}; export it with dynamic=False"
        ) from None
    for value, shape in zip(model.graph.output, shapes, strict=True):
        for side in shape:
            value.type.tensor_type.shape.dim.add(dim_value=side)


def _image_size(metadata: dict[str, str]) -> tuple[int, int] | None:
    size = _literal(metadata, "imgsz")
    if isinstance(size, int):
        size = [size, size]
    if not isinstance(size, (list, tuple)) or len(size) != 2 or not all(isinstance(side, int) for side in size):
        return None
    return (size[0], size[1]) if min(size) > 0 else None


def _check_task(model: onnx.ModelProto, metadata: dict[str, str]) -> None:
    task = metadata.get("task", "detect")
    if task != "detect":
        raise ModelError(f"is a network for the task {task[:40]!r}; only detection (boxes) is served here")
    if len(model.graph.output) != 1:
        raise ModelError(
            f"has {len(model.graph.output)} outputs, expected one; is it a network for another task than detection, "
            "or YOLOv5's export with its training outputs?"
        )


def _labels(metadata: dict[str, str]) -> list[str]:
    names = _parsed_json(metadata["labels"]) if "labels" in metadata else _literal(metadata, "names")
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ModelError("its metadata has no names of classes; export it with Ultralytics' exporter")
    if len(names) > _MAX_CLASSES:
        raise ModelError(f"has {len(names)} classes, allowed are {_MAX_CLASSES}")
    return names


def _parsed_json(text: str) -> object:
    try:
        return json.loads(text[:_MAX_TEXT])
    except (ValueError, RecursionError):
        return None


def _literal(metadata: dict[str, str], key: str) -> object:
    """The Python literal that the metadata has at `key`, or None. Never evaluated."""
    text = metadata.get(key, "")
    try:
        return ast.literal_eval(text) if len(text) <= _MAX_TEXT else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _output_shape(model: onnx.ModelProto) -> tuple[int, int]:
    tensor = model.graph.output[0].type.tensor_type
    dims = [dim.dim_value for dim in tensor.shape.dim]
    if tensor.elem_type != TensorProto.FLOAT:
        raise ModelError("does not answer float32; export it without half or int8")
    if len(dims) != 3 or min(dims) < 1 or dims[0] != 1:
        shown = ", ".join(str(dim or "?") for dim in dims)
        raise ModelError(
            f"answers ({shown}), expected boxes of one picture as (1, a, b), all known beforehand; "
            "export it with dynamic=False and batch=1"
        )
    if dims[1] * dims[2] > LARGEST_OUTPUT:
        raise ModelError(f"answers {dims[1] * dims[2]} numbers, allowed are {LARGEST_OUTPUT}")
    return dims[1], dims[2]


def _head(model: onnx.ModelProto, metadata: dict[str, str], shape: tuple[int, int], classes: int) -> Head:
    first, second = shape
    if model.producer_name == "barevision" and second == 4 + classes:
        return Head("relative", "stretch")
    if second == 6 and _is_chosen(metadata, classes):
        return Head("end-to-end", "letterbox")
    if first == 4 + classes and second != 5 + classes:
        return Head("yolov8", "letterbox")
    if second == 5 + classes:
        return Head("yolov5", "letterbox")
    raise ModelError(
        f"answers (1, {first}, {second}), which with {classes} classes is none of the forms known: "
        f"(1, {4 + classes}, N) of YOLOv8 and YOLO11, (1, N, {5 + classes}) of YOLOv5, (1, N, 6) with NMS inside"
    )


def _is_chosen(metadata: dict[str, str], classes: int) -> bool:
    """Whether rows of six numbers are boxes that the network chose itself.

    With one class YOLOv5's rows have six numbers, too; its exporter says nothing of a task, Ultralytics' does.
    """
    arguments = _literal(metadata, "args")
    says_so = metadata.get("end2end") == "True" or (isinstance(arguments, dict) and arguments.get("nms") is True)
    return says_so or classes != 1 or "task" in metadata
