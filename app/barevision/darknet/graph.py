"""Writes the sections of a Darknet network as one ONNX graph.

Input ``image``: float32 (1, 3, height, width), RGB, 0 to 1. Output ``detections``: float32 (1, rows, 4 + classes):
centre x, centre y, width and height relative to the image, then one score a class, already multiplied by the
objectness. Rows stand in OpenCV's order: the sections that detect as in the file, cells row by row, anchors within
a cell.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import onnx
from onnx import TensorProto, helper

from barevision.darknet import CONVERTER_VERSION, boxes, layers
from barevision.darknet.builder import Feature, Graph
from barevision.darknet.config import Section
from barevision.darknet.weights import Weights
from barevision.detection.network_output import Fit
from barevision.network_limits import LARGEST_OUTPUT, LARGEST_SIDE

# What writes each kind of section. A new kind is a function in layers.py (in boxes.py, if it detects), a line here, and
# a line with its options in config.py.
_WRITERS: dict[str, Callable[[Graph, Section, Feature], Feature]] = {
    "convolutional": layers.convolutional,
    "maxpool": layers.maxpool,
    "local_avgpool": layers.local_avgpool,
    "avgpool": layers.avgpool,
    "reorg": layers.reorg,
    "reorg3d": layers.reorg3d,
    "upsample": layers.upsample,
    "shortcut": layers.shortcut,
    "scale_channels": layers.scale_channels,
    "sam": layers.sam,
    "route": layers.route,
    "activation": layers.activation,
    "dropout": layers.unchanged,
    "contrastive": layers.unchanged,
    "empty": layers.unchanged,
    "yolo": boxes.yolo,
    "Gaussian_yolo": boxes.gaussian_yolo,
    "region": boxes.region,
}

# Opset 13 is the newest that every engine here reads in full.
_OPSET = 13
_IR_VERSION = 8


def build_model(
    sections: list[Section],
    weights: Weights,
    labels: list[str] | None = None,
    size: tuple[int, int] | None = None,
) -> onnx.ModelProto:
    """The network as an ONNX model with batch norm folded into the convolutions.

    :param sections: from `parse_config`.
    :param weights: the floats of the network, used up to the last one.
    :param labels: one name a class, checked against the number of classes. They are stored in the model's metadata,
        and so is how images are to be fitted to its input.
    :param size: (height, width) of the input in pixels instead of the ones in [net].
    :raises DarknetError: the sections, the weights and the labels don't fit each other.
    """
    net = sections[0]
    height, width = size or (net.integer("height", minimum=1), net.integer("width", minimum=1))
    if net.integer("channels", default=3) != 3:
        raise net.error("channels must be 3 (colour images)", net.line_of("channels"))
    if max(height, width) > LARGEST_SIDE:
        raise net.error(
            f"the input is {width}x{height}, at most {LARGEST_SIDE} pixels a side are allowed", net.line_of("width")
        )

    image = Feature("image", 3, height, width)
    graph = Graph(weights, image, classes=len(labels) if labels else None)
    feature = image
    for section in sections[1:]:
        feature = _WRITERS[section.kind](graph, section, feature)
        _check_feature(net, section, feature, image)
        graph.features.append(feature)
    weights.finish()
    if not graph.boxes:
        raise net.error("the network has no [yolo], [Gaussian_yolo] or [region] section, so it detects nothing")
    classes = [part.classes for part in graph.boxes]
    if len(set(classes)) > 1:
        raise net.error(f"the sections that detect have different numbers of classes: {classes}")

    graph.node("Concat", [part.name for part in graph.boxes], output="detections", axis=1)
    detections = (1, sum(part.rows for part in graph.boxes), 4 + classes[0])
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "darknet",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, height, width))],
            [helper.make_tensor_value_info("detections", TensorProto.FLOAT, detections)],
            graph.constants,
        ),
        producer_name="barevision",
        producer_version=str(CONVERTER_VERSION),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    properties = {"fit": input_fit(sections)}
    if labels:
        properties["labels"] = json.dumps(labels, ensure_ascii=False)
    helper.set_model_props(model, properties)
    return model


def input_fit(sections: list[Section]) -> Fit:
    """How Darknet fits images to the network's input: test_detector in its detector.c heeds letter_box, as training."""
    return "darknet-letterbox" if sections[0].integer("letter_box", 0) else "stretch"


def _check_feature(net: Section, section: Section, feature: Feature, image: Feature) -> None:
    """Raises `DarknetError` if the output of `section` is empty or too large, or its cells don't divide the input."""
    if min(feature.shape) < 1:
        raise section.error(f"leaves nothing of the image: {feature} (channels x height x width)")
    numbers = math.prod(feature.shape)
    if numbers > LARGEST_OUTPUT:
        raise section.error(f"gives {feature} = {numbers} numbers, at most {LARGEST_OUTPUT} are allowed")
    # Otherwise cells would not lie where their positions say, and every box would be a little off.
    if image.height % feature.stride_y or image.width % feature.stride_x:
        stride = max(feature.stride_x, feature.stride_y)
        raise section.error(
            f"shrinks the image until a cell is {stride} pixels wide, but the input is "
            f"{image.width}x{image.height}: its sides must be divisible by {stride}; "
            f"change them in [net] (line {net.line_of('width')}) or give another size (MODEL@WIDTHxHEIGHT)"
        )
