"""ONNX networks made up for a test: what they answer is given, whatever the picture."""

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
