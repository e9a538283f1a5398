"""Writes the sections of a Darknet network as one ONNX graph.

Input ``image``: float32 (1, 3, height, width), RGB, 0 to 1. Output ``detections``: float32 (1, rows, 4 + classes):
centre x, centre y, width and height relative to the image, then one score a class, already multiplied by the
objectness. Rows stand in OpenCV's order: [yolo] and [region] sections as in the file, cells row by row, anchors within
a cell.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from barevision.darknet.config import Section
from barevision.darknet.limits import LARGEST_OUTPUT, LARGEST_SIDE
from barevision.darknet.weights import Weights

# Part of a prepared model's name: raise it whenever the same .cfg and .weights give another graph.
CONVERTER_VERSION = 2

# Opset 13 is the newest that every engine here reads in full.
_OPSET = 13
_IR_VERSION = 8
# Darknet's normalize_cpu divides by sqrt(variance) + 1e-6; OpenCV adds it under the root, as here, which is what the
# published accuracies and the golden answers rest on.
_BATCH_NORM_EPSILON = 1e-6
_LEAKY_SLOPE = 0.1
# Boxes of a [yolo] or [region] section: far above every published network.
_MAX_ROWS = 2**20


@dataclass(frozen=True)
class Feature:
    """The output of a section: an ONNX value of shape (1, channels, height, width).

    :ivar stride: pixels of the input from one cell to the next.
    """

    name: str
    channels: int
    height: int
    width: int
    stride: Fraction = Fraction(1)


@dataclass
class _Graph:
    """What has been written so far."""

    weights: Weights
    network: tuple[int, int]
    labels: int | None
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    features: list[Feature] = field(default_factory=list)
    heads: list[tuple[str, int, int]] = field(default_factory=list)

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: np.ndarray | Sequence[int] | float) -> str:
        array = np.asarray(value, np.int64 if _is_integers(value) else np.float32)
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def _is_integers(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, int) for item in value)


def build_model(
    sections: list[Section],
    weights: Weights,
    labels: list[str] | None = None,
    size: tuple[int, int] | None = None,
) -> onnx.ModelProto:
    """The network as an ONNX model with batch norm folded into the convolutions.

    :param sections: from `parse_config`.
    :param weights: the floats of the network, used up to the last one.
    :param labels: one name a class, stored in the model's metadata; checked against the number of classes.
    :param size: (height, width) of the input in pixels instead of the ones in [net].
    :raises DarknetError: the sections, the weights and the labels don't fit each other.
    """
    net = sections[0]
    height, width = size or (net.integer("height", minimum=1), net.integer("width", minimum=1))
    if net.integer("channels", default=3) != 3:
        raise net.error("channels must be 3 (colour pictures)", net.line_of("channels"))
    if max(height, width) > LARGEST_SIDE:
        raise net.error(
            f"the input is {width}x{height}, allowed are {LARGEST_SIDE} pixels a side", net.line_of("width")
        )
    graph = _Graph(weights, (height, width), labels=len(labels) if labels else None)
    current = Feature("image", 3, height, width)
    for index, section in enumerate(sections[1:]):
        current = _WRITERS[section.kind](graph, section, index, current)
        _check_size(section, current)
        _check_stride(net, section, current, graph.network)
        graph.features.append(current)
    weights.finish()
    return _model(graph, labels, net)


def _check_size(section: Section, feature: Feature) -> None:
    if min(feature.height, feature.width) < 1:
        raise section.error(f"leaves nothing of the picture: {_shape(feature)}")
    numbers = feature.channels * feature.height * feature.width
    if numbers > LARGEST_OUTPUT:
        raise section.error(f"gives {_shape(feature)} = {numbers} numbers, allowed are {LARGEST_OUTPUT}")


def _check_stride(net: Section, section: Section, feature: Feature, network: tuple[int, int]) -> None:
    """Where a side is no multiple of the stride, cells lie beside what they are said to see, and boxes with them."""
    height, width = network
    if height % feature.stride or width % feature.stride:
        raise section.error(
            f"halves the picture until a cell is {feature.stride} pixels wide, but the input is {width}x{height}: "
            f"its sides must be divisible by {feature.stride}; change them in [net] (line {net.line_of('width')}) or "
            "give another size (MODEL@WIDTHxHEIGHT)"
        )


def _model(graph: _Graph, labels: list[str] | None, net: Section) -> onnx.ModelProto:
    if not graph.heads:
        raise net.error("the network has no [yolo] or [region] section, so it detects nothing")
    names, row_counts, class_counts = zip(*graph.heads, strict=True)
    if len(set(class_counts)) > 1:
        raise net.error(f"the [yolo] and [region] sections have different numbers of classes: {class_counts}")
    columns = 4 + class_counts[0]
    graph.node("Concat", names, "detections", axis=1)
    height, width = graph.network
    proto = helper.make_graph(
        graph.nodes,
        "darknet",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, height, width))],
        [helper.make_tensor_value_info("detections", TensorProto.FLOAT, (1, sum(row_counts), columns))],
        graph.constants,
    )
    model = helper.make_model(
        proto,
        producer_name="barevision",
        producer_version=str(CONVERTER_VERSION),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    if labels:
        helper.set_model_props(model, {"labels": json.dumps(labels, ensure_ascii=False)})
    return model


def _convolutional(graph: _Graph, section: Section, index: int, source: Feature) -> Feature:
    filters = section.integer("filters", 1, minimum=1)
    size = section.integer("size", 1, minimum=1)
    stride = section.integer("stride", 1, minimum=1)
    groups = section.integer("groups", 1, minimum=1)
    padding = size // 2 if section.integer("pad", 0) else section.integer("padding", 0)
    if source.channels % groups or filters % groups:
        raise section.error(
            f"groups={groups} does not divide {source.channels} input channels and {filters} filters",
            section.line_of("groups"),
        )
    kernel, bias = _folded_kernel(graph.weights, section, (filters, source.channels // groups, size, size))
    name = f"convolutional_{index}"
    graph.node(
        "Conv",
        [
            source.name,
            graph.constant(f"{name}_kernel", kernel),
            graph.constant(f"{name}_bias", bias),
        ],
        name,
        kernel_shape=[size, size],
        strides=[stride, stride],
        pads=[padding] * 4,
        group=groups,
    )
    height, width = ((side + 2 * padding - size) // stride + 1 for side in (source.height, source.width))
    if min(height, width) < 1:
        raise section.error(f"a {size}x{size} kernel does not fit on {source.height}x{source.width}")
    return Feature(_activate(graph, section, name, "logistic"), filters, height, width, source.stride * stride)


def _folded_kernel(
    weights: Weights, section: Section, shape: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    filters = shape[0]
    bias = weights.take(filters, section, "the biases")
    if not section.integer("batch_normalize", 0):
        return weights.take(math.prod(shape), section, "the kernel").reshape(shape), bias
    scale = weights.take(filters, section, "the batch norm scales")
    mean = weights.take(filters, section, "the batch norm means")
    variance = weights.take(filters, section, "the batch norm variances")
    if (variance < 0).any():
        raise section.error(
            f"{weights.source} is damaged or belongs to another .cfg: a batch norm variance is negative"
        )
    kernel = weights.take(math.prod(shape), section, "the kernel").reshape(shape)
    factor = scale / np.sqrt(variance + _BATCH_NORM_EPSILON)
    return kernel * factor[:, None, None, None], bias - mean * factor


def _activate(graph: _Graph, section: Section, name: str, default: str) -> str:
    activation = section.choice("activation", _ACTIVATIONS, default)
    return _ACTIVATIONS[activation](graph, name)


def _mish(graph: _Graph, name: str) -> str:
    softplus = graph.node("Softplus", [name], f"{name}_softplus")
    return graph.node("Mul", [name, graph.node("Tanh", [softplus], f"{name}_tanh")], f"{name}_mish")


def _swish(graph: _Graph, name: str) -> str:
    return graph.node("Mul", [name, graph.node("Sigmoid", [name], f"{name}_sigmoid")], f"{name}_swish")


_ACTIVATIONS: dict[str, Callable[[_Graph, str], str]] = {
    "linear": lambda graph, name: name,
    "leaky": lambda graph, name: graph.node("LeakyRelu", [name], f"{name}_leaky", alpha=_LEAKY_SLOPE),
    "relu": lambda graph, name: graph.node("Relu", [name], f"{name}_relu"),
    "logistic": lambda graph, name: graph.node("Sigmoid", [name], f"{name}_logistic"),
    "mish": _mish,
    "swish": _swish,
}


def _maxpool(graph: _Graph, section: Section, index: int, source: Feature) -> Feature:
    stride = section.integer("stride", 1, minimum=1)
    size = section.integer("size", stride, minimum=1)
    # Darknet pads size - 1 in all, the smaller half above and to the left.
    padding = section.integer("padding", size - 1)
    before, after = padding // 2, padding - padding // 2
    name = graph.node(
        "MaxPool",
        [source.name],
        f"maxpool_{index}",
        kernel_shape=[size, size],
        strides=[stride, stride],
        pads=[before, before, after, after],
    )
    height, width = ((side + padding - size) // stride + 1 for side in (source.height, source.width))
    return Feature(name, source.channels, height, width, source.stride * stride)


def _reorg(graph: _Graph, section: Section, index: int, source: Feature) -> Feature:
    """Space to depth as Darknet has it: it takes the numbers for a picture with a stride-th of the channels.

    Source: reorg_cpu in Darknet's blas.c. No published network has `reverse`, `flatten` or `extra`.
    """
    for option in ("reverse", "flatten", "extra"):
        if section.integer(option, 0):
            raise section.error(f"{option} is not supported", section.line_of(option))
    stride = section.integer("stride", 1, minimum=1)
    channels, height, width = source.channels, source.height, source.width
    if channels % stride**2 or height % stride or width % stride:
        raise section.error(f"stride={stride} does not fit {_shape(source)}", section.line_of("stride"))
    name = f"reorg_{index}"
    parts = graph.constant(f"{name}_parts", [channels // stride**2, height, stride, width, stride])
    shape = graph.constant(f"{name}_shape", [1, channels * stride**2, height // stride, width // stride])
    graph.node("Reshape", [source.name, parts], f"{name}_split")
    graph.node("Transpose", [f"{name}_split"], f"{name}_turned", perm=[2, 4, 0, 1, 3])
    graph.node("Reshape", [f"{name}_turned", shape], name)
    return Feature(name, channels * stride**2, height // stride, width // stride, source.stride * stride)


def _upsample(graph: _Graph, section: Section, index: int, source: Feature) -> Feature:
    stride = section.integer("stride", 2, minimum=1)
    scales = graph.constant(f"upsample_{index}_scales", np.array([1, 1, stride, stride], np.float32))
    name = graph.node(
        "Resize",
        [source.name, "", scales],
        f"upsample_{index}",
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    return Feature(name, source.channels, source.height * stride, source.width * stride, source.stride / stride)


def _shortcut(graph: _Graph, section: Section, index: int, source: Feature) -> Feature:
    other = _earlier(graph, section, "from", index, section.integers("from"))
    name = source.name
    for number, feature in enumerate(other):
        if (feature.channels, feature.height, feature.width) != (
            source.channels,
            source.height,
            source.width,
        ):
            raise section.error(f"adds {_shape(feature)} to {_shape(source)}", section.line_of("from"))
        name = graph.node("Add", [name, feature.name], f"shortcut_{index}_{number}")
    return replace(source, name=_activate(graph, section, name, "linear"))


def _route(graph: _Graph, section: Section, index: int, source: Feature) -> Feature:
    features = _earlier(graph, section, "layers", index, section.integers("layers"))
    first = features[0]
    if any((feature.height, feature.width) != (first.height, first.width) for feature in features):
        shapes = ", ".join(_shape(feature) for feature in features)
        raise section.error(
            f"joins features of different sizes: {shapes}",
            section.line_of("layers"),
        )
    features = [_group(graph, section, index, feature) for feature in features]
    if len(features) == 1:
        return features[0]
    channels = sum(feature.channels for feature in features)
    name = graph.node("Concat", [feature.name for feature in features], f"route_{index}", axis=1)
    return replace(first, name=name, channels=channels)


def _group(graph: _Graph, section: Section, index: int, feature: Feature) -> Feature:
    groups = section.integer("groups", 1, minimum=1)
    group = section.integer("group_id", 0)
    if groups == 1:
        return feature
    if feature.channels % groups or group >= groups:
        raise section.error(
            f"group {group} of {groups} can't be taken from {feature.channels} channels",
            section.line_of("groups"),
        )
    channels = feature.channels // groups
    name = f"route_{index}_{feature.name}"
    start = graph.constant(f"{name}_start", [group * channels])
    end = graph.constant(f"{name}_end", [(group + 1) * channels])
    axis = graph.constant(f"{name}_axis", [1])
    graph.node("Slice", [feature.name, start, end, axis], name)
    return replace(feature, name=name, channels=channels)


def _earlier(graph: _Graph, section: Section, option: str, index: int, layers: list[int]) -> list[Feature]:
    positions = [index + layer if layer < 0 else layer for layer in layers]
    for layer, position in zip(layers, positions, strict=True):
        if not 0 <= position < index:
            raise section.error(
                f"{option}={layer} points outside the {index} sections before it",
                section.line_of(option),
            )
    return [graph.features[position] for position in positions]


def _shape(feature: Feature) -> str:
    return f"{feature.channels}x{feature.height}x{feature.width}"


def _dropout(graph: _Graph, section: Section, index: int, source: Feature) -> Feature:
    return source


def _yolo(graph: _Graph, section: Section, index: int, source: Feature) -> Feature:
    anchors = _anchors(section)
    anchors = anchors[_mask(section, len(anchors))]
    # In pixels of the network's input.
    relative = anchors / np.array(graph.network[::-1], np.float32)
    scores = _raw_scores if section.integer("new_coords", 0) else _logistic_scores
    return _head(graph, section, index, source, relative, scores)


def _region(graph: _Graph, section: Section, index: int, source: Feature) -> Feature:
    """The head of YOLOv2. Source: forward_region_layer in Darknet's region_layer.c."""
    if section.integer("coords", 4) != 4:
        raise section.error("coords must be 4 (boxes)", section.line_of("coords"))
    for option in ("background", "classfix", "tree"):
        if option in section.options and section.options[option].value != "0":
            raise section.error(f"{option} is not supported (YOLO9000's tree of classes, and its kin)")
    # In cells.
    relative = _anchors(section) / np.array([source.width, source.height], np.float32)
    scores = _softmax_scores if section.integer("softmax", 0) else _logistic_scores
    return _head(graph, section, index, source, relative, scores)


def _head(
    graph: _Graph,
    section: Section,
    index: int,
    source: Feature,
    anchors: np.ndarray,
    scores: Callable[[_Graph, str, int], str],
) -> Feature:
    """Writes the boxes and scores of a detecting section; `anchors` (anchors, 2) are relative to the image."""
    classes = section.integer("classes", 20, minimum=1)
    if graph.labels not in (None, classes):
        raise section.error(f"classes={classes}, but there are {graph.labels} names", section.line_of("classes"))
    columns = 5 + classes
    if source.channels != len(anchors) * columns:
        raise section.error(
            f"{len(anchors)} anchors and {classes} classes need {len(anchors) * columns} channels, "
            f"the section before gives {source.channels}"
        )
    name = f"{section.kind}_{index}"
    cells = source.height * source.width
    rows = cells * len(anchors)
    if rows > _MAX_ROWS:
        raise section.error(f"gives {rows} boxes, allowed are {_MAX_ROWS}")
    split = graph.constant(f"{name}_split", [1, len(anchors), columns, cells])
    joined = graph.constant(f"{name}_rows", [1, rows, columns])
    graph.node("Reshape", [source.name, split], f"{name}_split_anchors")
    graph.node("Transpose", [f"{name}_split_anchors"], f"{name}_by_cell", perm=[0, 3, 1, 2])
    graph.node("Reshape", [f"{name}_by_cell", joined], f"{name}_raw")
    boxes = _decoded_boxes(graph, section, name, source, anchors)
    graph.heads.append((graph.node("Concat", [boxes, scores(graph, name, columns)], name, axis=2), rows, classes))
    return source


def _anchors(section: Section) -> np.ndarray:
    """The (width, height) pairs of the section: shape (anchors, 2)."""
    flat = section.numbers("anchors")
    pairs = np.array(flat[: len(flat) // 2 * 2], np.float32).reshape(-1, 2)
    if len(flat) % 2 or len(pairs) != section.integer("num", 1):
        raise section.error(
            f"anchors has {len(flat)} numbers, expected two for each of num={section.integer('num', 1)}",
            section.line_of("anchors"),
        )
    return pairs


def _mask(section: Section, count: int) -> list[int]:
    """Which of the `count` anchors the section uses."""
    mask = section.integers("mask", list(range(count)))
    if any(not 0 <= item < count for item in mask):
        raise section.error(f"mask={mask}, expected numbers from 0 to {count - 1}", section.line_of("mask"))
    return mask


def _decoded_boxes(graph: _Graph, section: Section, name: str, source: Feature, anchors: np.ndarray) -> str:
    grid_y, grid_x, _ = np.mgrid[: source.height, : source.width, : len(anchors)]
    cell = np.stack([grid_x, grid_y], axis=-1).reshape(1, -1, 2).astype(np.float32)
    cells = np.array([source.width, source.height], np.float32)
    stretch = section.number("scale_x_y", 1.0)
    sizes = np.tile(anchors, (source.height * source.width, 1))[None]
    new_coords = bool(section.integer("new_coords", 0))

    centre = _columns(graph, name, "centre", 0, 2)
    centre = centre if new_coords else graph.node("Sigmoid", [centre], f"{name}_centre_in_cell")
    factor = graph.constant(f"{name}_centre_factor", stretch / cells)
    offset = graph.constant(f"{name}_centre_offset", (cell - (stretch - 1) / 2) / cells)
    graph.node("Mul", [centre, factor], f"{name}_centre_scaled")
    graph.node("Add", [f"{name}_centre_scaled", offset], f"{name}_centre_relative")

    size = _columns(graph, name, "size", 2, 4)
    if new_coords:
        # (2 t)^2 anchor, the factor 4 moved into the constant.
        graph.node("Mul", [size, size], f"{name}_size_factor")
        sizes = 4 * sizes
    else:
        graph.node("Exp", [size], f"{name}_size_factor")
    anchor = graph.constant(f"{name}_anchors", sizes)
    graph.node("Mul", [f"{name}_size_factor", anchor], f"{name}_size_relative")
    return graph.node("Concat", [f"{name}_centre_relative", f"{name}_size_relative"], f"{name}_boxes", axis=2)


def _raw_scores(graph: _Graph, name: str, columns: int) -> str:
    """Of sections with new_coords, whose convolution is logistic."""
    objectness = _columns(graph, name, "objectness", 4, 5)
    return graph.node("Mul", [_columns(graph, name, "classes", 5, columns), objectness], f"{name}_scores")


def _logistic_scores(graph: _Graph, name: str, columns: int) -> str:
    return _probable_scores(graph, name, columns, "Sigmoid")


def _softmax_scores(graph: _Graph, name: str, columns: int) -> str:
    return _probable_scores(graph, name, columns, "Softmax", axis=2)


def _probable_scores(graph: _Graph, name: str, columns: int, op: str, **attributes: int) -> str:
    objectness = _columns(graph, name, "objectness", 4, 5)
    classes = _columns(graph, name, "classes", 5, columns)
    objectness = graph.node("Sigmoid", [objectness], f"{name}_objectness_probability")
    classes = graph.node(op, [classes], f"{name}_class_probability", **attributes)
    return graph.node("Mul", [classes, objectness], f"{name}_scores")


def _columns(graph: _Graph, name: str, what: str, start: int, end: int) -> str:
    bounds = [
        graph.constant(f"{name}_{what}_{bound}", [value])
        for bound, value in (("start", start), ("end", end), ("axis", 2))
    ]
    return graph.node("Slice", [f"{name}_raw", *bounds], f"{name}_{what}")


_WRITERS: dict[str, Callable[[_Graph, Section, int, Feature], Feature]] = {
    "convolutional": _convolutional,
    "maxpool": _maxpool,
    "upsample": _upsample,
    "shortcut": _shortcut,
    "route": _route,
    "dropout": _dropout,
    "reorg": _reorg,
    "region": _region,
    "yolo": _yolo,
}
