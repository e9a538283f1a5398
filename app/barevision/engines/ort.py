"""ONNX Runtime: one session shared by all threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from barevision.engines import EngineError

# The Linux wheel carries telemetry; nothing of ours phones home.
onnxruntime.disable_telemetry_events()

_PRECISIONS = {"tensor(float)": "float32", "tensor(float16)": "float16"}


class OnnxRuntimeEngine:
    """See `Engine`. A session may be run by several threads at once and releases the GIL while it does."""

    def __init__(self, path: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            # ONNX Runtime's exceptions share no base class below Exception.
            raise EngineError(f"ONNX Runtime can't load {path}: {error}") from error
        source = self._session.get_inputs()[0]
        self._input = source.name
        self.input_size = (source.shape[2], source.shape[3])
        self.precision = _PRECISIONS[source.type]

    def infer(self, blob: np.ndarray) -> np.ndarray:
        try:
            return self._session.run(None, {self._input: blob})[0][0]
        except Exception as error:
            raise EngineError(f"ONNX Runtime can't run the network: {error}") from error


def answer_shapes(network: bytes, blob: np.ndarray) -> list[tuple[int, ...]]:
    """The shapes of what the ONNX `network` answers for its one input `blob`, found out by running it.

    :raises EngineError: it doesn't load or run.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
        return [np.shape(answer) for answer in session.run(None, {session.get_inputs()[0].name: blob})]
    except Exception as error:
        # As above.
        raise EngineError(f"ONNX Runtime can't run the network: {error}") from error
