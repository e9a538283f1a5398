"""Darknet networks made up for a test."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

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


def weights_for(cfg: str, path: Path) -> Path:
    """A .weights file of random numbers that fits `cfg`, at `path`."""
    weights = RandomWeights()
    build_model(parse_config(cfg, "a.cfg"), weights)
    return weights.write(path)


def write_model(folder: Path, cfg: str = TINY_CFG, names: str = "cat\ndog\n") -> Path:
    """A whole model folder in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.cfg").write_text(cfg)
    (folder / "net.names").write_text(names)
    weights_for(cfg, folder / "net.weights")
    return folder


def error_of(call, *arguments: object) -> str:
    """The message of the `DarknetError` that `call` raises."""
    try:
        call(*arguments)
    except DarknetError as error:
        return str(error)
    raise AssertionError("no DarknetError was raised")
