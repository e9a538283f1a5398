"""Runs networks with OpenCV, as the tutorial does: slower than ONNX Runtime, and a second opinion on its answers."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx

from barevision.engines import Plan, check_precision
from barevision.errors import EngineError


class OpenCVEngine:
    """See `Engine`. Threads that use a `cv2.dnn.Net` at once get each other's boxes, so calls take turns."""

    def __init__(self, path: Path, plan: Plan) -> None:
        try:
            self._net = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise EngineError(f"OpenCV can't load {path}: {error}") from error
        graph = onnx.load(path).graph
        if any(node.op_type == "NonMaxSuppression" for node in graph.node):
            # Where it finds nothing, OpenCV 5 divides by the number of boxes and ends the process.
            raise EngineError(f"OpenCV can't run the non-maximum suppression in {path}; the engine onnxruntime can")
        if any(node.op_type == "QuantizeLinear" for node in graph.node):
            raise EngineError(f"OpenCV does not run quantized networks such as {path}; the engine openvino does")
        check_precision(path, plan, "f32")
        # OpenCV keeps this number for the whole process, not for the network.
        cv2.setNumThreads(plan.threads)
        self.plan = replace(plan, streams=1, threads=cv2.getNumThreads())
        self._lock = threading.Lock()
        _, _, height, width = graph.input[0].type.tensor_type.shape.dim
        self.input_size = (height.dim_value, width.dim_value)

    def infer(self, blob: np.ndarray) -> np.ndarray:
        with self._lock:
            self._net.setInput(blob)
            try:
                return self._net.forward()[0]
            except cv2.error as error:
                raise EngineError(f"OpenCV can't run the network: {error.err}; the engine onnxruntime may") from error
