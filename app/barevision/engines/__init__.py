"""The engines that run a prepared ONNX network: arrays in, arrays out. They know nothing of boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np


class Engine(Protocol):
    """A loaded network. `infer` may be called from several threads at once."""

    #: The network's input, (height, width) in pixels.
    input_size: tuple[int, int]

    def infer(self, blob: np.ndarray) -> np.ndarray:
        """From float32 (1, 3, height, width), RGB, 0 to 1, to float32 (a, b): one picture's raw detections."""


ENGINES = ("onnxruntime", "opencv")


def load_engine(name: str, path: Path, threads: int) -> Engine:
    """The network in the ONNX file `path`, loaded.

    :param name: one of `ENGINES`.
    :param threads: processor cores that one inference may use.
    :raises EngineError: the engine can't read the file.
    """
    # Each engine's library takes a good part of a second to import, so only the chosen one is.
    if name == "onnxruntime":
        from barevision.engines.onnx_runtime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(path, threads)
    if name == "opencv":
        from barevision.engines.opencv import OpenCVEngine

        return OpenCVEngine(path, threads)
    raise ValueError(f"unknown engine {name!r}, expected one of {', '.join(ENGINES)}")
