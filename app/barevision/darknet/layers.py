"""The sections of a Darknet network that turn features into features.

Each function adds its section's nodes to the graph and returns the section's output. `source` is the output of the
section before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from barevision.darknet.builder import Feature, Graph
from barevision.darknet.config import Section

# Darknet's normalize_cpu divides by sqrt(variance) + 1e-6; OpenCV adds it under the root, as here, which is what the
# published accuracies and the golden answers rest on.
_BATCH_NORM_EPSILON = 1e-6
_LEAKY_SLOPE = 0.1

_ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "linear": lambda graph, x: x,
    "leaky": lambda graph, x: graph.node("LeakyRelu", [x], alpha=_LEAKY_SLOPE),
    "relu": lambda graph, x: graph.node("Relu", [x]),
    "logistic": lambda graph, x: graph.node("Sigmoid", [x]),
    "mish": lambda graph, x: graph.node("Mul", [x, graph.node("Tanh", [graph.node("Softplus", [x])])]),
    "swish": lambda graph, x: graph.node("Mul", [x, graph.node("Sigmoid", [x])]),
}


def convolutional(graph: Graph, section: Section, source: Feature) -> Feature:
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
    kernel, bias = _kernel_and_bias(graph, section, (filters, source.channels // groups, size, size))
    name = graph.node(
        "Conv",
        [source.name, graph.floats(kernel), graph.floats(bias)],
        kernel_shape=[size, size],
        strides=[stride, stride],
        pads=[padding] * 4,
        group=groups,
    )
    name = _activate(graph, section, name, "logistic")
    height, width = ((side + 2 * padding - size) // stride + 1 for side in (source.height, source.width))
    return Feature(name, filters, height, width, source.stride * stride)


def _activate(graph: Graph, section: Section, name: str, default: str) -> str:
    return _ACTIVATIONS[section.choice("activation", _ACTIVATIONS, default)](graph, name)


def _kernel_and_bias(graph: Graph, section: Section, shape: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The kernel of `shape` and its biases, in the order of the .weights file, with batch norm folded in."""
    filters = shape[0]
    weights = graph.weights
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


def maxpool(graph: Graph, section: Section, source: Feature) -> Feature:
    stride = section.integer("stride", 1, minimum=1)
    size = section.integer("size", stride, minimum=1)
    # Darknet pads size - 1 in all, the smaller half above and to the left.
    padding = section.integer("padding", size - 1)
    before, after = padding // 2, padding - padding // 2
    name = graph.node(
        "MaxPool",
        [source.name],
        kernel_shape=[size, size],
        strides=[stride, stride],
        pads=[before, before, after, after],
    )
    height, width = ((side + padding - size) // stride + 1 for side in (source.height, source.width))
    return Feature(name, source.channels, height, width, source.stride * stride)


def reorg(graph: Graph, section: Section, source: Feature) -> Feature:
    """Space to depth as Darknet does it: it reads the numbers as an image with a stride²-th of the channels.

    Source: reorg_cpu in Darknet's blas.c. No published network uses `reverse`, `flatten` or `extra`.
    """
    for option in ("reverse", "flatten", "extra"):
        if section.integer(option, 0):
            raise section.error(f"{option} is not supported", section.line_of(option))
    stride = section.integer("stride", 1, minimum=1)
    channels, height, width = source.channels, source.height, source.width
    if channels % stride**2 or height % stride or width % stride:
        raise section.error(f"stride={stride} does not fit {source}", section.line_of("stride"))
    parts = graph.ints([channels // stride**2, height, stride, width, stride])
    shape = graph.ints([1, channels * stride**2, height // stride, width // stride])
    name = graph.node("Reshape", [source.name, parts])
    name = graph.node("Transpose", [name], perm=[2, 4, 0, 1, 3])
    name = graph.node("Reshape", [name, shape])
    return Feature(name, channels * stride**2, height // stride, width // stride, source.stride * stride)


def upsample(graph: Graph, section: Section, source: Feature) -> Feature:
    stride = section.integer("stride", 2, minimum=1)
    name = graph.node(
        "Resize",
        [source.name, "", graph.floats([1, 1, stride, stride])],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    return Feature(name, source.channels, source.height * stride, source.width * stride, source.stride / stride)


def shortcut(graph: Graph, section: Section, source: Feature) -> Feature:
    """The sum of `source` and earlier features."""
    name = source.name
    for feature in _earlier_features(graph, section, "from"):
        if feature.shape != source.shape:
            raise section.error(f"adds {feature} to {source}", section.line_of("from"))
        name = graph.node("Add", [name, feature.name])
    return replace(source, name=_activate(graph, section, name, "linear"))


def route(graph: Graph, section: Section, source: Feature) -> Feature:
    """The channels of earlier features one after the other; with `groups`, one group of the channels of each."""
    features = _earlier_features(graph, section, "layers")
    first = features[0]
    if any((feature.height, feature.width) != (first.height, first.width) for feature in features):
        shapes = ", ".join(str(feature) for feature in features)
        raise section.error(f"joins features of different sizes: {shapes}", section.line_of("layers"))
    groups = section.integer("groups", 1, minimum=1)
    group = section.integer("group_id", 0)
    if groups > 1:
        features = [_channel_group(graph, section, feature, group, groups) for feature in features]
    if len(features) == 1:
        return features[0]
    name = graph.node("Concat", [feature.name for feature in features], axis=1)
    return replace(first, name=name, channels=sum(feature.channels for feature in features))


def _channel_group(graph: Graph, section: Section, feature: Feature, group: int, groups: int) -> Feature:
    """The channels of `feature` that are its `group`th of `groups` equal parts."""
    if feature.channels % groups or group >= groups:
        raise section.error(
            f"group {group} of {groups} can't be taken from {feature.channels} channels",
            section.line_of("groups"),
        )
    channels = feature.channels // groups
    start, end, axis = graph.ints([group * channels]), graph.ints([(group + 1) * channels]), graph.ints([1])
    return replace(feature, name=graph.node("Slice", [feature.name, start, end, axis]), channels=channels)


def _earlier_features(graph: Graph, section: Section, option: str) -> list[Feature]:
    """The features that `option` names: by their position, or, if negative, counted back from this section."""
    count = len(graph.features)
    features = []
    for layer in section.integers(option):
        position = count + layer if layer < 0 else layer
        if not 0 <= position < count:
            raise section.error(
                f"{option}={layer} points outside the {count} sections before it", section.line_of(option)
            )
        features.append(graph.features[position])
    return features


def dropout(graph: Graph, section: Section, source: Feature) -> Feature:
    """Nothing: only training drops values."""
    return source
