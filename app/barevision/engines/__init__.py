"""The engines that run a prepared ONNX network: arrays in, arrays out. They know nothing of boxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np

from barevision.errors import EngineError
from barevision.processes import Process, only_process

EngineName = Literal["onnxruntime", "openvino", "opencv"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
#: The type of the numbers that a network computes with: 32 bits, or 16 of which 7 (bf16) or 10 (f16) are the fraction,
#: or integers of 8 bits, for which a network has to be quantized.
Precision = Literal["f32", "bf16", "f16", "int8"]


@dataclass(frozen=True)
class Plan:
    """How a network is run.

    :ivar streams: inferences that run at once.
    :ivar threads: processor cores that each of them may use.
    :ivar lone_threads: those of an inference that no other runs beside, if it has a second copy of the network for
        itself; 0 if it has none.
    :ivar processes: how many processes of a service share the streams, because one could not answer so fast.
    """

    engine: EngineName = "onnxruntime"
    precision: Precision = "f32"
    streams: int = 1
    threads: int = 1
    lone_threads: int = 0
    processes: int = 1

    def __str__(self) -> str:
        cores = "1 core" if self.threads == 1 else f"up to {self.threads} cores"
        at_once = f"one at a time on {cores}" if self.streams == 1 else f"{self.streams} at once on {cores} each"
        alone = f", a lone one on up to {self.lone_threads} cores" if self.lone_threads else ""
        processes = f", in {self.processes} processes" if self.processes > 1 else ""
        return f"{self.engine} {self.precision}, {at_once}{alone}{processes}"


class Engine(Protocol):
    """A loaded network. `infer` may be called from several threads at once; those beyond the plan's streams wait."""

    #: The network's input, (height, width) in pixels.
    input_size: tuple[int, int]
    #: How the network really runs, as the engine's library says.
    plan: Plan

    def infer(self, blob: np.ndarray) -> np.ndarray:
        """From float32 (1, 3, height, width), RGB, 0 to 1, to float32 (a, b): one picture's raw detections."""


def check_precision(path: Path, plan: Plan, precision: Precision) -> None:
    """Raises `EngineError` if the network in `path`, which computes with `precision`, is not what `plan` asks for."""
    if precision == plan.precision:
        return
    if plan.precision == "int8":
        raise EngineError(
            f"{path} can't compute with int8 here: it is not quantized ('barevision models quantize' makes a model "
            "that is), or the engine doesn't compute so on this processor"
        )
    if precision == "int8":
        raise EngineError(
            f"{path} is quantized, so it computes with int8, not with {plan.precision}; set the precision int8, or "
            "serve the model that it was made of"
        )
    raise EngineError(f"this processor can't compute with {plan.precision}, only with {precision}")


def load_engine(plan: Plan, path: Path, process: Process | None = None) -> Engine:
    """The network in the ONNX file `path`, loaded.

    :param process: which one of a service's this is; None if it is the only one.
    :raises EngineError: the engine can't read the file, or can't compute with the plan's precision on this processor.
    """
    if plan.precision in ("bf16", "f16") and plan.engine != "openvino":
        raise EngineError(f"{plan.engine} computes with f32, not with {plan.precision}; the engine openvino may")
    load = _loader(plan.engine, path)
    if not plan.lone_threads:
        return load(plan)
    from barevision.engines.doubled import DoubledEngine

    alone = load(Plan(plan.engine, plan.precision, 1, plan.lone_threads))
    return DoubledEngine(load(replace(plan, lone_threads=0)), alone, process or only_process())


def _loader(engine: EngineName, path: Path) -> Callable[[Plan], Engine]:
    """What loads the network in `path` by a plan, as often as it is asked to."""
    # Each engine's library takes a good part of a second to import, so only the chosen one is.
    if engine == "onnxruntime":
        from barevision.engines.onnx_runtime import OnnxRuntimeEngine

        return partial(OnnxRuntimeEngine, path)
    if engine == "openvino":
        from barevision.engines.open_vino import OpenVinoEngine, read_network

        # Read once, another engine of YOLOv3-tiny with bf16 takes 23 instead of 65 MB.
        return partial(OpenVinoEngine, read_network(path), path)
    from barevision.engines.opencv import OpenCVEngine

    return partial(OpenCVEngine, path)
