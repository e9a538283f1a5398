"""The sections of a Darknet network that turn features into features.

Each function adds its section's nodes to the graph and returns the section's output. `source` is the output of the
section before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np

from barevision.darknet.builder import Feature, Graph, Kernel
from barevision.darknet.config import Section

# Darknet adds 1e-5 to a variance, OpenCV 1e-6, which is what the golden answers rest on.
_BATCH_NORM_EPSILON = 1e-6
# A channel that is the same everywhere has a variance of zero, which rounding makes -7e-44, and converters from Caffe
# -1e-5, the epsilon that they take away. With Darknet's own 1e-5 it is still no root of a negative number.
_LEAST_VARIANCE = -1.1e-5
_LEAKY_SLOPE = 0.1

_ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "linear": lambda graph, x: x,
    "leaky": lambda graph, x: graph.node("LeakyRelu", [x], alpha=_LEAKY_SLOPE),
    "relu": lambda graph, x: graph.node("Relu", [x]),
    "relu6": lambda graph, x: graph.node("Clip", [x, graph.floats(0), graph.floats(6)]),
    "logistic": lambda graph, x: graph.node("Sigmoid", [x]),
    "tanh": lambda graph, x: graph.node("Tanh", [x]),
    "elu": lambda graph, x: graph.node("Elu", [x], alpha=1.0),
    "selu": lambda graph, x: graph.node("Selu", [x], alpha=1.6732, gamma=1.0507),
    "ramp": lambda graph, x: graph.node("Add", [graph.node("Relu", [x]), graph.node("Mul", [x, graph.floats(0.1)])]),
    "mish": lambda graph, x: graph.node("Mul", [x, graph.node("Tanh", [graph.node("Softplus", [x])])]),
    "swish": lambda graph, x: graph.node("Mul", [x, graph.node("Sigmoid", [x])]),
}
# Sections without weights of their own can't have these two: Darknet then answers zeros.
_PLAIN_ACTIVATIONS = {name: write for name, write in _ACTIVATIONS.items() if name not in ("mish", "swish")}


def convolutional(graph: Graph, section: Section, source: Feature) -> Feature:
    filters = section.integer("filters", 1, minimum=1)
    size = section.integer("size", 1, minimum=1)
    stride_y, stride_x = _strides(section)
    # A kernel of one pixel has nothing between its pixels that could be spread.
    dilation = section.integer("dilation", 1, minimum=1) if size > 1 else 1
    groups = section.integer("groups", 1, minimum=1)
    padding = dilation * (size // 2 if section.integer("pad", 0) else section.integer("padding", 0))
    if source.channels % groups or filters % groups:
        raise section.error(
            f"groups={groups} does not divide {source.channels} input channels and {filters} filters",
            section.line_of("groups"),
        )
    kernel = _kernel(graph, section, (filters, source.channels // groups, size, size))
    graph.kernels[len(graph.features)] = kernel
    name = graph.node(
        "Conv",
        [source.name, kernel.name, kernel.biases],
        kernel_shape=[size, size],
        strides=[stride_y, stride_x],
        dilations=[dilation] * 2,
        pads=[padding] * 4,
        group=groups,
    )
    name = _activate(graph, section, name, "logistic")
    reach = dilation * (size - 1) + 1
    height = (source.height + 2 * padding - reach) // stride_y + 1
    width = (source.width + 2 * padding - reach) // stride_x + 1
    return Feature(name, filters, height, width, source.stride_y * stride_y, source.stride_x * stride_x)


def _strides(section: Section) -> tuple[int, int]:
    """How far a section goes from one cell to the next, down and to the right, in cells of its source."""
    stride = section.integer("stride", 1, minimum=1)
    return section.integer("stride_y", stride, minimum=1), section.integer("stride_x", stride, minimum=1)


def _activate(
    graph: Graph,
    section: Section,
    name: str,
    default: str,
    activations: dict[str, Callable[[Graph, str], str]] = _ACTIVATIONS,
) -> str:
    return activations[section.choice("activation", activations, default)](graph, name)


def _kernel(graph: Graph, section: Section, shape: tuple[int, int, int, int]) -> Kernel:
    """The section's own kernel, or that of the earlier convolution that it shares one with."""
    position = len(graph.features)
    if "share_index" not in section.options:
        kernel, biases = _kernel_and_biases(graph, section, shape)
        return Kernel(graph.floats(kernel), shape, graph.floats(biases))
    shared = section.integers("share_index")[0]
    shared = position + shared if shared < 0 else shared
    if shared not in graph.kernels or graph.kernels[shared].shape != shape:
        raise section.error(
            f"share_index={shared} is no earlier convolution with a kernel of the same shape",
            section.line_of("share_index"),
        )
    return graph.kernels[shared]


def _kernel_and_biases(
    graph: Graph, section: Section, shape: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The kernel of `shape` and its biases, in the order of the .weights file, with batch norm folded in."""
    filters = shape[0]
    weights = graph.weights
    bias = weights.take(filters, section, "the biases")
    if not section.integer("batch_normalize", 0) and not section.integer("cbn", 0):
        return weights.take(math.prod(shape), section, "the kernel").reshape(shape), bias
    scale = weights.take(filters, section, "the batch norm scales")
    mean = weights.take(filters, section, "the batch norm means")
    variance = weights.take(filters, section, "the batch norm variances")
    if (variance < _LEAST_VARIANCE).any():
        raise section.error(
            f"{weights.source} is damaged or belongs to another .cfg: a batch norm variance is {variance.min():.3g}"
        )
    kernel = weights.take(math.prod(shape), section, "the kernel").reshape(shape)
    factor = scale / np.sqrt(np.maximum(variance, 0) + _BATCH_NORM_EPSILON)
    return kernel * factor[:, None, None, None], bias - mean * factor


def maxpool(graph: Graph, section: Section, source: Feature) -> Feature:
    return _pool(graph, section, source, "MaxPool")


def local_avgpool(graph: Graph, section: Section, source: Feature) -> Feature:
    """The mean of the cells around; those beyond the border don't count."""
    return _pool(graph, section, source, "AveragePool")


def _pool(graph: Graph, section: Section, source: Feature, op: str) -> Feature:
    stride_y, stride_x = _strides(section)
    size = section.integer("size", section.integer("stride", 1), minimum=1)
    # Darknet pads size - 1 in all, the smaller half above and to the left.
    padding = section.integer("padding", size - 1)
    before, after = padding // 2, padding - padding // 2
    name = graph.node(
        op,
        [source.name],
        kernel_shape=[size, size],
        strides=[stride_y, stride_x],
        pads=[before, before, after, after],
    )
    height = (source.height + padding - size) // stride_y + 1
    width = (source.width + padding - size) // stride_x + 1
    return Feature(name, source.channels, height, width, source.stride_y * stride_y, source.stride_x * stride_x)


def avgpool(graph: Graph, section: Section, source: Feature) -> Feature:
    """The mean of each channel, one cell for the whole image."""
    return replace(source, name=graph.node("GlobalAveragePool", [source.name]), height=1, width=1)


def reorg(graph: Graph, section: Section, source: Feature) -> Feature:
    """Space to depth as YOLOv2 does it: it reads the numbers as an image with a stride²-th of the channels.

    Source: reorg_cpu in Darknet's blas.c.
    """
    stride = section.integer("stride", 1, minimum=1)
    channels, height, width = source.channels, source.height, source.width
    if channels % stride**2 or height % stride or width % stride:
        raise section.error(f"stride={stride} does not fit {source}", section.line_of("stride"))
    parts = graph.ints([channels // stride**2, height, stride, width, stride])
    shape = graph.ints([1, channels * stride**2, height // stride, width // stride])
    name = graph.node("Reshape", [source.name, parts])
    name = graph.node("Transpose", [name], perm=[2, 4, 0, 1, 3])
    name = graph.node("Reshape", [name, shape])
    return _scaled(replace(source, name=name, channels=channels * stride**2), Fraction(1, stride))


def reorg3d(graph: Graph, section: Section, source: Feature) -> Feature:
    """Space to depth: the upper left cells of all squares of `stride` cells come first, channel by channel."""
    stride = section.integer("stride", 1, minimum=1)
    if source.height % stride or source.width % stride:
        raise section.error(f"stride={stride} does not fit {source}", section.line_of("stride"))
    name = graph.node("SpaceToDepth", [source.name], blocksize=stride)
    return _scaled(replace(source, name=name, channels=source.channels * stride**2), Fraction(1, stride))


def upsample(graph: Graph, section: Section, source: Feature) -> Feature:
    stride = section.integer("stride", 2, minimum=1)
    name = graph.node(
        "Resize",
        [source.name, "", graph.floats([1, 1, stride, stride])],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    scale = section.number("scale", 1.0)
    if scale != 1:
        name = graph.node("Mul", [name, graph.floats(scale)])
    return _scaled(replace(source, name=name), Fraction(stride))


def _scaled(feature: Feature, factor: Fraction) -> Feature:
    """`feature` with `factor` as many cells in both directions, over the same image."""
    return replace(
        feature,
        height=int(feature.height * factor),
        width=int(feature.width * factor),
        stride_y=feature.stride_y / factor,
        stride_x=feature.stride_x / factor,
    )


def shortcut(graph: Graph, section: Section, source: Feature) -> Feature:
    """The sum of `source` and earlier features, of which each may have a weight.

    The result has the shape of `source`. Of a feature with more channels the first are added, and one with fewer is
    added to the first. Of one that is larger, every second cell (or third, and so on) is added. Source:
    shortcut_multilayer_cpu in AlexeyAB's blas.c, and for the larger ones shortcut_cpu in pjreddie's.
    """
    features = _earlier_features(graph, section, "from")
    names = [source.name, *(_fitted(graph, section, feature, source) for feature in features)]
    weights = _shortcut_weights(graph, section, source, len(names))
    if weights is not None:
        names = [graph.node("Mul", [name, graph.floats(weight)]) for name, weight in zip(names, weights, strict=True)]
    name = names[0]
    for other in names[1:]:
        name = graph.node("Add", [name, other])
    return replace(source, name=_activate(graph, section, name, "linear"))


def _fitted(graph: Graph, section: Section, feature: Feature, source: Feature) -> str:
    """`feature` in the shape of `source`: cut to its channels, or filled up with zeros, and its cells thinned out."""
    stride = feature.height // source.height
    if (feature.height, feature.width) != (stride * source.height, stride * source.width):
        raise section.error(
            f"adds {feature} to {source}; its height and width must be equal, or larger by a whole number of times",
            section.line_of("from"),
        )
    name, channels = feature.name, source.channels
    if stride > 1 or feature.channels > channels:
        ends = graph.ints([channels, feature.height, feature.width])
        steps = graph.ints([1, stride, stride])
        name = graph.node("Slice", [name, graph.ints([0, 0, 0]), ends, graph.ints([1, 2, 3]), steps])
    if feature.channels < channels:
        name = graph.node("Pad", [name, graph.ints([0] * 5 + [channels - feature.channels, 0, 0])])
    return name


def _shortcut_weights(graph: Graph, section: Section, source: Feature, features: int) -> np.ndarray | None:
    """How much each of the `features` counts: shape (features, channels or 1, 1, 1). None if all count in full.

    Source: fuse_conv_batchnorm in Darknet's network.c.
    """
    kind = section.choice("weights_type", ("none", "per_feature", "per_layer", "per_channel"), "none")
    if kind == "none":
        return None
    # Darknet misspelt the name at first.
    normalizations = ("relu", "avg_relu", "softmax")
    normalization = section.choice("weights_normalizion", normalizations, "")
    normalization = section.choice("weights_normalization", normalizations, normalization)
    if not normalization:
        raise section.error(f"weights_type={kind} needs weights_normalization=relu or softmax")
    channels = source.channels if kind == "per_channel" else 1
    weights = graph.weights.take(features * channels, section, "the weights of the features")
    weights = weights.reshape(features, channels, 1, 1)
    shares = np.exp(weights - weights.max(axis=0)) if normalization == "softmax" else np.maximum(weights, 0.001)
    return shares / (shares.sum(axis=0) + 0.0001)


def scale_channels(graph: Graph, section: Section, source: Feature) -> Feature:
    """An earlier feature, each channel of it multiplied by the one number that `source` has for it: squeeze-and-excite.

    With `scale_wh` it is the other way about: `source` has one channel, and a number for each cell.
    """
    feature = _earlier_features(graph, section, "from")[0]
    by_cell = section.integer("scale_wh", 0)
    expected = (1, feature.height, feature.width) if by_cell else (feature.channels, 1, 1)
    if source.shape != expected:
        raise section.error(f"multiplies {feature} by {source}", section.line_of("from"))
    if by_cell:
        # OpenCV 5 can't run a product that repeats a channel by itself.
        source = replace(source, name=graph.node("Expand", [source.name, graph.ints([1, *feature.shape])]))
    return _product(graph, section, feature, source)


def sam(graph: Graph, section: Section, source: Feature) -> Feature:
    """An earlier feature multiplied by `source`, cell by cell: spatial attention."""
    feature = _earlier_features(graph, section, "from")[0]
    if source.shape != feature.shape:
        raise section.error(f"multiplies {feature} by {source}", section.line_of("from"))
    return _product(graph, section, feature, source)


def _product(graph: Graph, section: Section, feature: Feature, source: Feature) -> Feature:
    name = graph.node("Mul", [feature.name, source.name])
    return replace(feature, name=_activate(graph, section, name, "linear", _PLAIN_ACTIVATIONS))


def activation(graph: Graph, section: Section, source: Feature) -> Feature:
    return replace(source, name=_activate(graph, section, source.name, "linear", _PLAIN_ACTIVATIONS))


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


def unchanged(graph: Graph, section: Section, source: Feature) -> Feature:
    """Nothing: [dropout] and [contrastive] act in training alone, and [empty] never."""
    return source
