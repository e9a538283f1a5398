"""Changes to an ONNX graph, and questions to it. A value is what a node takes and gives, by its name."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Of these, only the first input is the data; the others say what is to be done with it.
_RESHAPING = {
    *("Cast", "DequantizeLinear", "Expand", "Flatten", "Gather", "Identity", "QuantizeLinear", "Reshape", "Slice"),
    *("Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
}
# Where a head begins: its last convolutions, and what only depends on the input's size.
_BEGINNINGS = {
    *("Conv", "ConvInteger", "ConvTranspose", "QLinearConv", "Gemm"),
    *("ConstantOfShape", "NonZero", "Range", "Shape"),
}
_CORNERS_TO_CENTRE = np.array([[0.5, 0, -1, 0], [0, 0.5, 0, -1], [0.5, 0, 1, 0], [0, 0.5, 0, 1]], np.float32)


def graphs_of(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.GraphProto | onnx.FunctionProto]:
    """`graph` and all graphs in it: the branches of a node, such as If, are graphs themselves."""
    waiting = [graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            waiting += [attribute.g for attribute in node.attribute if attribute.HasField("g")]
            waiting += [branch for attribute in node.attribute for branch in attribute.graphs]


def operations_of_head(graph: onnx.GraphProto) -> set[str]:
    """The kinds of nodes between the last convolutions and the first output of `graph`, both included."""
    makers = {name: node for node in graph.node for name in node.output}
    operations, seen, waiting = set(), set(), [graph.output[0].name]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in makers:
            continue
        seen.add(name)
        node = makers[name]
        operations.add(node.op_type)
        if node.op_type not in _BEGINNINGS:
            waiting += node.input[:1] if node.op_type in _RESHAPING else node.input
    return operations


def decoding_nodes(graph: onnx.GraphProto) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """The nodes that make the first output of `graph` of what its last convolutions answer, and these convolutions.

    A convolution of what a Softmax answers is none of the last: it is Ultralytics' DFL, which takes the mean of a
    distribution, and is decoding itself.
    """
    makers = {name: node for node in graph.node for name in node.output}
    decoding: dict[str, onnx.NodeProto] = {}
    last: dict[str, onnx.NodeProto] = {}
    waiting = [graph.output[0].name]
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.output[0] in decoding or node.output[0] in last:
            continue
        if node.op_type == "Conv" and not _is_of_softmax(node.input[0], makers):
            last[node.output[0]] = node
        else:
            decoding[node.output[0]] = node
            waiting += [name for inner in _with_inner_nodes(node) for name in inner.input]
    return list(decoding.values()), list(last.values())


def _is_of_softmax(name: str, makers: dict[str, onnx.NodeProto]) -> bool:
    """Whether the value `name` is a Softmax's answer, reshaped."""
    while name in makers and makers[name].op_type in _RESHAPING:
        name = makers[name].input[0]
    return name in makers and makers[name].op_type == "Softmax"


def is_quantized(graph: onnx.GraphProto) -> bool:
    """Whether values in `graph` are rounded to 8 bits, as quantizers write it."""
    return any(node.op_type == "QuantizeLinear" for node in graph.node)


def keep_what_outputs_need(graph: onnx.GraphProto) -> None:
    """Puts each node behind those whose values it takes, and drops those that no output needs.

    Converters to half precision append nodes to the end. ONNX Runtime doesn't mind, and OpenCV crashes.
    """
    makers = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
    needs = [
        [makers[name] for inner in _with_inner_nodes(node) for name in inner.input if name in makers]
        for node in graph.node
    ]
    waiting = [makers[value.name] for value in reversed(graph.output) if value.name in makers]
    kept: dict[int, onnx.NodeProto] = {}
    opened = set()
    while waiting:
        number = waiting[-1]
        missing = [need for need in needs[number] if need not in kept]
        # A node that was opened before and still misses something is part of a circle, which the engine refuses.
        if missing and number not in opened:
            opened.add(number)
            waiting += reversed(missing)
        else:
            kept[waiting.pop()] = graph.node[number]
    nodes = list(kept.values())
    del graph.node[:]
    graph.node.extend(nodes)


def _with_inner_nodes(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """`node`, and the nodes of its branches, which take values from outside without naming them as inputs."""
    yield node
    for attribute in node.attribute:
        for branch in [attribute.g, *attribute.graphs]:
            for graph in graphs_of(branch):
                yield from graph.node
                # What a branch answers may come from outside, too.
                yield onnx.NodeProto(input=[value.name for value in graph.output])


def take_float32(graph: onnx.GraphProto) -> None:
    """Casts a half-precision graph's input and first output, so that it takes and answers float32."""
    value = graph.input[0]
    if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
        half = value.name
        value.name = f"{half}/float32"
        value.type.tensor_type.elem_type = TensorProto.FLOAT
        graph.node.insert(0, helper.make_node("Cast", [value.name], [half], to=TensorProto.FLOAT16))
    value = graph.output[0]
    if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
        half = value.name
        value.name = f"{half}/float32"
        value.type.tensor_type.elem_type = TensorProto.FLOAT
        graph.node.append(helper.make_node("Cast", [half], [value.name], to=TensorProto.FLOAT))


def answer_before_suppression(model: onnx.ModelProto) -> bool:
    """Makes a graph that ends in TensorRT's non-maximum suppression answer what goes into it: (1, 4 + classes, N).

    Only TensorRT has this node, EfficientNMS_TRT, and no other engine loads a file with it. Its inputs are boxes (1, N,
    4) and scores (1, N, classes).

    :returns: whether the graph has this node.
    """
    graph = model.graph
    node = next((node for node in graph.node if node.op_type == "EfficientNMS_TRT"), None)
    if node is None:
        return False
    options = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    boxes, scores = node.input[:2]
    if options.get("box_coding", 0) == 0:
        graph.initializer.append(numpy_helper.from_array(_CORNERS_TO_CENTRE, "corners_to_centre"))
        graph.node.append(helper.make_node("MatMul", [boxes, "corners_to_centre"], ["centre_boxes"]))
        boxes = "centre_boxes"
    if options.get("score_activation", 0):
        graph.node.append(helper.make_node("Sigmoid", [scores], ["activated_scores"]))
        scores = "activated_scores"
    graph.node.append(helper.make_node("Concat", [boxes, scores], ["rows_before_suppression"], axis=2))
    graph.node.append(
        helper.make_node("Transpose", ["rows_before_suppression"], ["before_suppression"], perm=[0, 2, 1])
    )
    graph.node.remove(node)
    # Boxes and scores of a half-precision export have its type, which is that of the boxes that it answers.
    kind = next(value.type.tensor_type.elem_type for value in graph.output if value.name == node.output[1])
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("before_suppression", kind, None))
    return True


def classes_before_suppression(model: onnx.ModelProto) -> int | None:
    """How many classes a graph chooses from before it suppresses boxes; None if that can't be told."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {value.name: value.type.tensor_type.shape.dim for value in inferred.value_info}
    scores = [node.input[0] for node in inferred.node if node.op_type == "ArgMax" and node.input[0] in shapes]
    return shapes[scores[-1]][-1].dim_value or None if scores and shapes[scores[-1]] else None


def answer_in_batch(graph: onnx.GraphProto) -> None:
    """Makes a graph that answers rows (N, 7) answer (1, N, 7)."""
    value = graph.output[0]
    graph.initializer.append(numpy_helper.from_array(np.array([1, -1, 7]), "one_batch"))
    graph.node.append(helper.make_node("Reshape", [value.name, "one_batch"], [f"{value.name}/batch"]))
    value.name = f"{value.name}/batch"
