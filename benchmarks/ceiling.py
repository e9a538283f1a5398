"""What the processor could do: one large convolution, again and again; and how much of that a network needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.environments import BUILD

# Large enough that a core computes most of the time, small enough that two of its images stay in a core's cache.
_CHANNELS, _SIDE, _LAYERS = 256, 52, 4


def multiply_adds(path: Path) -> int:
    """How many multiplications, with an addition each, the network in the ONNX file takes for one picture.

    Counted are convolutions and matrix products; all else is little beside them.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    graph = model.graph
    shapes = {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output, *graph.value_info)
    }
    shapes.update({constant.name: list(constant.dims) for constant in graph.initializer})
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            # (filters, inputs of a group, kernel's height, width): each output number takes a filter's.
            total += int(np.prod(shapes[node.output[0]])) * int(np.prod(_kernel(graph, node, shapes)[1:]))
        elif node.op_type in ("MatMul", "Gemm"):
            total += int(np.prod(shapes[node.output[0]])) * shapes[node.input[0]][-1]
    return total


def _kernel(graph: onnx.GraphProto, node: onnx.NodeProto, shapes: dict[str, list[int]]) -> list[int]:
    """The shape of a convolution's kernel; a quantized network dequantizes it first."""
    if node.input[1] in shapes:
        return shapes[node.input[1]]
    maker = next(other for other in graph.node if node.input[1] in other.output)
    return shapes[maker.input[0]]


def convolution(precision: str) -> Path:
    """An ONNX file of `_LAYERS` equal convolutions in a row, so that bringing numbers in and out hardly counts.

    :param precision: "int8" quantizes them; the others are told to the engine.
    """
    path = BUILD / "models" / f"convolutions-{'int8' if precision == 'int8' else 'float'}.onnx"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(_convolutions(precision == "int8"), path)
    return path


def _convolutions(is_quantized: bool) -> onnx.ModelProto:
    kernel = np.random.default_rng(0).normal(0, (1 / (9 * _CHANNELS)) ** 0.5, (_CHANNELS, _CHANNELS, 3, 3))
    wide = np.random.default_rng(1).normal(0, 0.5, (_CHANNELS, 3, 1, 1))
    constants = [_constant("wide", wide), _constant("scale", 0.03), _constant("kernel_scale", kernel.std() / 32)]
    constants += [numpy_helper.from_array(np.array(0, np.int8), "zero")]
    constants.append(
        numpy_helper.from_array(np.clip(kernel * 32 / kernel.std(), -127, 127).astype(np.int8), "kernel")
        if is_quantized
        else _constant("kernel", kernel)
    )
    nodes = [helper.make_node("Conv", ["image", "wide"], ["0"])]
    for layer in range(_LAYERS):
        data, weights = str(layer), "kernel"
        if is_quantized:
            nodes += [
                helper.make_node("QuantizeLinear", [data, "scale", "zero"], [f"{data}q"]),
                helper.make_node("DequantizeLinear", [f"{data}q", "scale", "zero"], [f"{data}d"]),
                helper.make_node("DequantizeLinear", ["kernel", "kernel_scale", "zero"], [f"{data}k"]),
            ]
            data, weights = f"{layer}d", f"{layer}k"
        nodes.append(helper.make_node("Conv", [data, weights], [str(layer + 1)], pads=[1, 1, 1, 1]))
    nodes.append(helper.make_node("ReduceMax", [str(_LAYERS)], ["detections"], axes=[1], keepdims=0))
    return helper.make_model(
        helper.make_graph(
            nodes,
            "convolutions",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, _SIDE, _SIDE))],
            [helper.make_tensor_value_info("detections", TensorProto.FLOAT, (1, _SIDE, _SIDE))],
            constants,
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )


def _constant(name: str, value: object) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value, np.float32), name)


#: (height, width) of the convolutions' input.
SIZE = (_SIDE, _SIDE)
