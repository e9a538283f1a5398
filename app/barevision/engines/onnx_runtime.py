"""Runs networks with ONNX Runtime: one session, shared by all threads."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime

from barevision.engines import Plan, Precision, check_precision
from barevision.errors import EngineError

# The Linux wheel sends telemetry unless it is told not to.
onnxruntime.disable_telemetry_events()

_LOG_ONLY_FATAL = 4


class OnnxRuntimeEngine:
    """See `Engine`. A session may be run by several threads at once, and releases the GIL while it computes."""

    def __init__(self, path: Path, plan: Plan) -> None:
        options = onnxruntime.SessionOptions()
        # Each inference computes in the thread that calls it, and all share the session's helpers.
        options.intra_op_num_threads = plan.threads
        options.inter_op_num_threads = 1
        # Helpers that wait for work by spinning take the cores from whatever else runs here: beside other processes,
        # an inference on two cores took three times as long.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = _session(path, options)
        # It runs what the reader of ONNX files found quantized with 8 bits.
        is_quantized = self._session.get_modelmeta().custom_metadata_map.get("precision") == "int8"
        precision: Precision = "int8" if is_quantized else "f32"
        check_precision(path, plan, precision)
        self.plan = replace(plan, precision=precision, threads=self._session.get_session_options().intra_op_num_threads)
        self._free = threading.Semaphore(plan.streams)
        _, _, height, width = self._session.get_inputs()[0].shape
        self.input_size = (height, width)

    def infer(self, blob: np.ndarray) -> np.ndarray:
        with self._free:
            return _run(self._session, blob)[0][0]


def answer_shapes(network: bytes, blob: np.ndarray) -> list[tuple[int, ...]]:
    """Runs the ONNX `network` on its one input `blob`, and returns the shapes of its outputs.

    :raises EngineError: the network can't be loaded or run.
    """
    session = _session(network, onnxruntime.SessionOptions())
    return [np.shape(answer) for answer in _run(session, blob)]


def _session(network: Path | bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    # ONNX Runtime raises what it logs as an error, so the log would only say it twice.
    options.log_severity_level = _LOG_ONLY_FATAL
    try:
        return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # ONNX Runtime's exceptions share no base class below Exception.
        name = network if isinstance(network, Path) else "the network"
        raise EngineError(f"ONNX Runtime can't load {name}: {error}") from error


def _run(session: onnxruntime.InferenceSession, blob: np.ndarray) -> list[np.ndarray]:
    try:
        return session.run(None, {session.get_inputs()[0].name: blob})
    except Exception as error:
        # ONNX Runtime's exceptions share no base class below Exception.
        raise EngineError(f"ONNX Runtime can't run the network: {error}") from error
