"""The engines that run a prepared ONNX network: arrays in, arrays out. They know nothing of boxes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np

from barevision.errors import EngineError

EngineName = Literal["onnxruntime", "openvino", "opencv"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
#: The type of the numbers that a network computes with: 32 bits, or 16 of which 7 (bf16) or 10 (f16) are the fraction.
Precision = Literal["f32", "bf16", "f16"]


class Engine(Protocol):
    """A loaded network. `infer` may be called from several threads at once."""

    #: The network's input, (height, width) in pixels.
    input_size: tuple[int, int]
    #: What the network really computes with, as the engine says.
    precision: Precision
    #: Inferences that run at once; further ones wait for those.
    streams: int

    def infer(self, blob: np.ndarray) -> np.ndarray:
        """From float32 (1, 3, height, width), RGB, 0 to 1, to float32 (a, b): one picture's raw detections."""


@dataclass(frozen=True)
class Plan:
    """How a network is run.

    :ivar streams: inferences that run at once.
    :ivar threads: processor cores that each of them uses.
    """

    engine: EngineName = "onnxruntime"
    precision: Precision = "f32"
    streams: int = 1
    threads: int = 1


def load_engine(plan: Plan, path: Path) -> Engine:
    """The network in the ONNX file `path`, loaded.

    :raises EngineError: the engine can't read the file, or can't compute with the plan's precision on this processor.
    """
    if plan.precision != "f32" and plan.engine != "openvino":
        raise EngineError(f"{plan.engine} computes with f32, not with {plan.precision}; the engine openvino may")
    # Each engine's library takes a good part of a second to import, so only the chosen one is.
    if plan.engine == "onnxruntime":
        from barevision.engines.onnx_runtime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(path, plan)
    if plan.engine == "openvino":
        from barevision.engines.open_vino import OpenVinoEngine

        return OpenVinoEngine(path, plan)
    from barevision.engines.opencv import OpenCVEngine

    return OpenCVEngine(path, plan)
