"""Darknet networks made up for a test."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from barevision.darknet.builder import Feature, Graph
from barevision.darknet.config import Section, parse_config
from barevision.darknet.graph import build_model
from barevision.errors import DarknetError

TINY_CFG = """\
[net]
width=64
height=32

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[maxpool]
size=2
stride=2

[convolutional]
filters=14
size=1
stride=1
pad=1
activation=linear

[yolo]
mask = 0,1
anchors = 4,6, 10,12, 20,30
classes=2
num=3
"""


class RandomWeights:
    """Stands in for `Weights`: random numbers of the right length, kept so that they can be written to a file."""

    source = "random numbers"

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self.taken: list[np.ndarray] = []

    def take(self, count: int, section: Section, what: str) -> np.ndarray:
        low, high = (0.5, 1.5) if "scales" in what or "variances" in what else (-0.05, 0.05)
        self.taken.append(self._random.uniform(low, high, count).astype("<f4"))
        return self.taken[-1]

    def finish(self) -> None:
        """Nothing is ever left over."""

    def write(self, path: Path) -> Path:
        """What was taken, as a .weights file of version 0.2.5."""
        with path.open("wb") as file:
            file.write(struct.pack("<3iq", 0, 2, 5, 0))
            for values in self.taken:
                file.write(values.tobytes())
        return path


def build(cfg: str, weights: object | None = None, **options: object) -> onnx.ModelProto:
    """The network of the text `cfg`, with random weights unless others are given."""
    return build_model(parse_config(cfg, "a.cfg"), weights or RandomWeights(), **options)


def build_section(
    write: Callable[[Graph, Section, Feature], Feature],
    section: str,
    *features: tuple[int, int, int],
    weights: RandomWeights | None = None,
) -> onnx.ModelProto:
    """One section as a network of its own, of which `write` is tested.

    Its inputs, feature_0 and so on, are the outputs (channels, height, width) of the sections before it. Its output is
    the section's output, or the boxes that it detects. The image is 64x32 pixels.
    """
    before = [Feature(f"feature_{number}", *shape) for number, shape in enumerate(features)]
    graph = Graph(weights or RandomWeights(), Feature("image", 3, 32, 64), features=list(before))
    output = write(graph, parse_config(f"[net]\n{section}", "a.cfg")[1], before[-1])
    name, shape = output.name, output.shape
    if graph.boxes:
        name, shape = graph.boxes[0].name, (graph.boxes[0].rows, 4 + graph.boxes[0].classes)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "section",
            [helper.make_tensor_value_info(item.name, TensorProto.FLOAT, (1, *item.shape)) for item in before],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, *shape))],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def weights_for(cfg: str, path: Path) -> Path:
    """A .weights file of random numbers that fits `cfg`, at `path`."""
    weights = RandomWeights()
    build(cfg, weights)
    return weights.write(path)


def write_model(folder: Path, cfg: str = TINY_CFG, names: str = "cat\ndog\n") -> Path:
    """A whole model folder in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.cfg").write_text(cfg)
    (folder / "net.names").write_text(names)
    weights_for(cfg, folder / "net.weights")
    return folder


def error_of(call, *arguments: object) -> str:
    """The message of the `DarknetError` that `call` raises with `arguments`."""
    try:
        call(*arguments)
    except DarknetError as error:
        return str(error)
    raise AssertionError("no DarknetError was raised")


def error_with(old: str, new: str) -> str:
    """The message of the `DarknetError` for TINY_CFG with `new` in place of `old`."""
    assert old in TINY_CFG
    return error_of(build, TINY_CFG.replace(old, new, 1))
