"""The ONNX graph of a network while its sections are written one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from barevision.darknet.weights import Weights


@dataclass(frozen=True)
class Feature:
    """The output of a section: an ONNX value of shape (1, channels, height, width).

    :ivar stride_y: pixels of the input from one cell to the next below; `stride_x` to the next at the right.
    """

    name: str
    channels: int
    height: int
    width: int
    stride_y: Fraction = Fraction(1)
    stride_x: Fraction = Fraction(1)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"


@dataclass(frozen=True)
class Kernel:
    """The names of a convolution's constants: its kernel of `shape` (filters, channels, height, width), its biases."""

    name: str
    shape: tuple[int, int, int, int]
    biases: str


@dataclass(frozen=True)
class Boxes:
    """What a section detects: an ONNX value of shape (1, rows, 4 + classes)."""

    name: str
    rows: int
    classes: int


@dataclass
class Graph:
    """What has been written so far.

    :ivar weights: the floats that the next convolution takes its own from.
    :ivar image: the network's input.
    :ivar classes: how many classes the network must have; None if that is not known beforehand.
    :ivar features: the outputs of the sections, which later sections refer to by their position.
    :ivar kernels: those of the convolutions, by their position among the features.
    :ivar boxes: the outputs of the sections that detect.
    """

    weights: Weights
    image: Feature
    classes: int | None = None
    features: list[Feature] = field(default_factory=list)
    kernels: dict[int, Kernel] = field(default_factory=dict)
    boxes: list[Boxes] = field(default_factory=list)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def node(self, op: str, inputs: Sequence[str], output: str | None = None, **attributes: object) -> str:
        """Adds a node with one output, and returns that output's name: `output`, or one that is made up."""
        name = output or f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def ints(self, values: Sequence[int]) -> str:
        """Adds a constant of int64, such as a shape, and returns its name."""
        return self._constant(np.asarray(values, np.int64))

    def floats(self, values: ArrayLike) -> str:
        """Adds a constant of float32, and returns its name."""
        return self._constant(np.asarray(values, np.float32))

    def _constant(self, array: np.ndarray) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name
