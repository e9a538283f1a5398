"""Runs networks with OpenVINO: compiled for this processor, in the precision that is asked for."""

from __future__ import annotations

import contextlib
import queue
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from barevision.engines import Plan, Precision, check_precision
from barevision.errors import EngineError

# OpenVINO's converter, which is imported with it, tells Google Analytics of every import unless it can't be had.
sys.modules["openvino.tools.ovc"] = None
import openvino  # noqa: E402

# OpenVINO runs a network of several streams in threads of its own, and one of a single stream in the thread that asks.
# Linux wakes that thread on the core of another inference, whose own core then idles: a network that takes 3 ms loses a
# sixth of its rate so, YOLOv3-tiny a twelfth. So a network is compiled once for each stream, as long as all copies
# together have at most so many bytes: YOLOv3-tiny and YOLOX-S on two cores, YOLO11n on eight.
_MOST_COPIED_BYTES = 96 * 2**20


def read_network(path: Path) -> openvino.Model:
    """The network in the ONNX file `path`, to make engines of; all that are made of it share its weights.

    :raises EngineError: OpenVINO can't read it.
    """
    with _loading(path):
        return openvino.Core().read_model(path)


class OpenVinoEngine:
    """See `Engine`. Each stream runs one inference at a time, without the GIL; further ones wait for a free stream.

    :param network: what `read_network` read from `path`.
    """

    def __init__(self, network: openvino.Model, path: Path, plan: Plan) -> None:
        is_small = plan.streams * path.stat().st_size <= _MOST_COPIED_BYTES
        copies, streams_of_each = (plan.streams, 1) if is_small else (1, plan.streams)
        settings = {
            # What is not quantized of a quantized network stays exact: boxes are decoded there.
            "INFERENCE_PRECISION_HINT": "f32" if plan.precision == "int8" else plan.precision,
            "NUM_STREAMS": streams_of_each,
            "INFERENCE_NUM_THREADS": streams_of_each * plan.threads,
            # A thread that is bound to a core waits for it while others are idle, and all copies bind to the same one.
            "ENABLE_CPU_PINNING": False,
        }
        self._free: queue.SimpleQueue[openvino.InferRequest] = queue.SimpleQueue()
        with _loading(path):
            core = openvino.Core()
            for _ in range(copies):
                compiled = core.compile_model(network, "CPU", settings)
                streams_of_each = compiled.get_property("NUM_STREAMS")
                for _ in range(streams_of_each):
                    self._free.put(compiled.create_infer_request())
            precision = _precision(compiled)
            threads = compiled.get_property("INFERENCE_NUM_THREADS") // streams_of_each
        check_precision(path, plan, precision)
        self.plan = replace(plan, precision=precision, streams=copies * streams_of_each, threads=threads)
        # Of two threads that hand over their first arrays at once, OpenVINO makes each wait for the other for good.
        openvino.Tensor(np.zeros(1, np.float32))
        _, _, height, width = compiled.inputs[0].shape
        self.input_size = (height, width)

    def infer(self, blob: np.ndarray) -> np.ndarray:
        request = self._free.get()
        try:
            request.set_input_tensor(openvino.Tensor(blob, shared_memory=True))
            # Its return value, which nobody reads, would else be a copy of each output.
            request.infer(share_outputs=True)
            # The next inference of the request overwrites its output.
            return request.get_output_tensor(0).data[0].copy()
        except RuntimeError as error:
            raise EngineError(f"OpenVINO can't run the network: {error}") from error
        finally:
            self._free.put(request)


@contextlib.contextmanager
def _loading(path: Path) -> Iterator[None]:
    """Makes errors of ours of OpenVINO's, which name neither the file nor a way out."""
    try:
        yield
    except RuntimeError as error:
        # OpenVINO's words where it may not write code.
        if "can't protect" in str(error):
            raise EngineError(
                "OpenVINO may not write the code that it runs here (MemoryDenyWriteExecute in barevision.service); "
                "set app_engine: auto or openvino and run site.yml, which allows it, or take the engine onnxruntime"
            ) from error
        raise EngineError(f"OpenVINO can't load {path}: {error}") from error


def _precision(compiled: openvino.CompiledModel) -> Precision:
    """What the network computes with: int8 if convolutions do, though others may be left out."""
    nodes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    kinds = [node["runtimePrecision"].astype(str) for node in nodes if node["layerType"].astype(str) == "Convolution"]
    if {"i8", "u8"} & set(kinds):
        return "int8"
    return compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
