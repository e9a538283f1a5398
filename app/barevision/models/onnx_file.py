"""Reads networks that come as ONNX files: our own, and those of other packages' exporters.

What a file says of itself is in its metadata, where Ultralytics' exporter puts the names of the classes, the task, the
kind of head and the input's size as the text of Python literals. Other exporters say nothing; their names are in a file
beside it. Source: export_onnx in Ultralytics' engine/exporter.py and in YOLOv5's export.py, YOLOv7's export.py, YOLOX's
tools/export_onnx.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from barevision.detection.network_output import Head, to_rows
from barevision.errors import EngineError, ModelError
from barevision.models.names import names_in_text, read_names
from barevision.models.network import Network
from barevision.models.onnx_graph import (
    answer_before_suppression,
    answer_in_batch,
    classes_before_suppression,
    graphs_of,
    is_quantized,
    keep_what_outputs_need,
    operations_of_head,
    take_float32,
)
from barevision.models.onnx_head import read_literal, recognize_head
from barevision.network_limits import LARGEST_OUTPUT, LARGEST_SIDE

#: In a file's metadata: its head as JSON, where nothing is to be recognized any more.
HEAD_KEY = "barevision_head"

# protobuf itself holds no more than 2 GiB. The rest is far above every published detector.
_MAX_BYTES = 2**30
_MAX_NODES = 20_000
_MAX_CLASSES = 10_000
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


def read_onnx_file(path: Path, size: tuple[int, int] | None = None, names: Path | None = None) -> Network:
    """The detector in the ONNX file `path`.

    :param size: (height, width) of the input in pixels, for a file that leaves it open.
    :param names: a file with the names of its classes, for a file that has none.
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
        return _read(model, path, size, names)
    except ModelError as error:
        raise ModelError(f"{path.name} {error}") from None


def _read(model: onnx.ModelProto, path: Path, size: tuple[int, int] | None, names: Path | None) -> Network:
    """As `read_onnx_file`. The errors, here and below, are sentences whose subject is the file."""
    _check_graphs(model)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    # Before anything else, because a network for another task fails in many ways, and the task explains them all.
    task = metadata.get("task", "detect")
    if task != "detect":
        raise ModelError(f"is a network for the task {task[:40]!r}; only detection (boxes) is served here")
    input_size = _fix_input(model, metadata, size)
    is_cut = answer_before_suppression(model)
    take_float32(model.graph)
    shapes = _run(model, input_size)
    quantized = is_quantized(model.graph)
    if quantized:
        # ONNX Runtime tells an open network's metadata, and not its nodes.
        onnx.helper.set_model_props(model, {**metadata, "precision": "int8"})
    outputs = ", ".join(f"{value.name} {shape}" for value, shape in zip(model.graph.output, shapes, strict=True))
    # YOLOv5's exporter wrote the heads behind the boxes until 6.2, for training; others write what is no box at all.
    shape = shapes[0]
    del model.graph.output[1:]
    keep_what_outputs_need(model.graph)
    if len(shape) == 5:
        raise ModelError(
            f"answers its heads ({outputs}), without the anchors that make boxes of them; export it again so that it "
            "answers boxes: YOLOv7's export.py does with --grid, YOLOv5's without --train"
        )
    if model.graph.output[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        raise ModelError("does not answer float32 or float16")

    labels, origin = _read_labels(metadata, path, names)
    operations = operations_of_head(model.graph)
    if HEAD_KEY in metadata:
        head = _read_head(metadata[HEAD_KEY], shape, len(labels), input_size)
        _write_output_shape(model.graph, (1, "objects", 7) if head.form == "yolov7-chosen" else shape)
        return Network(model.SerializeToString(), labels, head, quantized)
    if len(shape) == 2 and shape[1] == 7 and "NonMaxSuppression" in operations:
        classes = classes_before_suppression(model)
        if classes not in (None, len(labels)):
            raise ModelError(f"has {classes} classes, and {origin} has {len(labels)} names")
        answer_in_batch(model.graph)
        # There are as many rows as objects on the image.
        _write_output_shape(model.graph, (1, "objects", 7))
        return Network(model.SerializeToString(), labels, Head("yolov7-chosen", "letterbox"))
    if len(shape) != 3 or shape[0] != 1 or min(shape) < 1:
        raise ModelError(f"answers {outputs}, expected the boxes of one image first, as (1, a, b)")
    if shape[1] * shape[2] > LARGEST_OUTPUT:
        raise ModelError(f"answers {shape[1] * shape[2]} numbers, at most {LARGEST_OUTPUT} are allowed")
    _write_output_shape(model.graph, shape)
    if model.producer_name == "barevision" and shape[2] == 4 + len(labels):
        head = Head("relative", "darknet-letterbox" if metadata.get("fit") == "darknet-letterbox" else "stretch")
    elif is_cut and shape[1] == 4 + len(labels):
        head = Head("yolov8", "letterbox")
    else:
        try:
            head = recognize_head(shape[1:], len(labels), input_size, metadata, operations)
        except ModelError as error:
            raise ModelError(f"{error}; its outputs are {outputs}, and {origin} has {len(labels)} names") from None
    return Network(model.SerializeToString(), labels, head, quantized)


def _read_head(text: str, shape: tuple[int, ...], classes: int, input_size: tuple[int, int]) -> Head:
    """The head that `models/quantize.py` wrote into the metadata as JSON, if it fits the answer's shape."""
    try:
        head = Head(**json.loads(text))
        rows = to_rows(np.zeros(shape[1:], np.float32), head, input_size, classes)
    except (ValueError, TypeError, IndexError):
        rows = None
    if len(shape) != 3 or shape[0] != 1 or rows is None or rows.shape[1] != 4 + classes:
        raise ModelError(
            f"answers {shape} and has {classes} names, to which {HEAD_KEY} in its metadata, {text[:120]!r}, does not "
            "fit: it is damaged, or something changed it; quantize the network again"
        )
    return head


def _check_graphs(model: onnx.ModelProto) -> None:
    """Checks the number of nodes, and that no weights are kept in other files, in all graphs of the file."""
    count = 0
    for graph in (inner for outer in [model.graph, *model.functions] for inner in graphs_of(outer)):
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


def _fix_input(model: onnx.ModelProto, metadata: dict[str, str], size: tuple[int, int] | None) -> tuple[int, int]:
    """Leaves one input with four fixed sides, and returns its (height, width) in pixels.

    A side that the file leaves open becomes that of `size`, or of imgsz.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise ModelError(f"has {len(inputs)} inputs, expected one image")
    # Old exporters list constants among the inputs.
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    tensor = model.graph.input[0].type.tensor_type
    dims = tensor.shape.dim
    if tensor.elem_type not in _FLOATS or len(dims) != 4:
        raise ModelError("has an input that is not float32 or float16 (1, 3, height, width)")

    # The number of an open side reads as 0, or is -1.
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
    return height, width


def _read_image_size(metadata: dict[str, str]) -> tuple[int, int] | None:
    """The (height, width) that the network was exported for; None if the metadata does not say."""
    size = read_literal(metadata, "imgsz")
    if isinstance(size, int):
        size = [size, size]
    if not isinstance(size, (list, tuple)) or len(size) != 2 or not all(isinstance(side, int) for side in size):
        return None
    return (size[0], size[1]) if min(size) > 0 else None


def _run(model: onnx.ModelProto, size: tuple[int, int]) -> list[tuple[int, ...]]:
    """Runs the network once, and returns the shapes of its answers: a file may not say them, and may say them wrongly.

    What the file says about values on the way was said about open sides, and is removed.
    """
    # ONNX Runtime takes a good part of a second to import.
    from barevision.engines.onnx_runtime import answer_shapes

    verdict = f"does not run at {size[1]}x{size[0]}"
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        # The checker is stricter than the engines: what they run is not damaged.
        verdict = f"is damaged: {str(error).splitlines()[0]}"
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        return answer_shapes(model.SerializeToString(), np.zeros((1, 3, *size), np.float32))
    except EngineError as error:
        raise ModelError(f"{verdict}; {str(error).splitlines()[0][:300]}") from None


def _write_output_shape(graph: onnx.GraphProto, shape: tuple[int | str, ...]) -> None:
    """Writes down the shape of the answer, which OpenCV asks for."""
    value = graph.output[0]
    value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, TensorProto.FLOAT, shape))


def _read_labels(metadata: dict[str, str], path: Path, names: Path | None) -> tuple[list[str], str]:
    """The names of the classes, and what they come from."""
    text = metadata.get("labels", metadata.get("names", ""))
    labels, origin = names_in_text(text), "its metadata"
    if labels is None and names:
        labels, origin = read_names(names), names.name
    if labels is None:
        what = f"has names of classes that can't be read, {text[:80]!r}" if text else "has no names of classes"
        raise ModelError(f"{what}; write them into {path.stem}.names beside it, one a line")
    if len(labels) > _MAX_CLASSES:
        raise ModelError(f"has {len(labels)} classes, at most {_MAX_CLASSES} are allowed")
    return labels, origin
