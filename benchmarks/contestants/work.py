"""What a request costs beside its server: decoding, the network's input, inference, selection. The same for everybody.

Runs in each contestant's own environment, with this repository's app/ on PYTHONPATH: pictures are decoded and boxes are
selected by Barevision's own functions, so that contestants differ in server and engine only. `BENCH_TASK` says in JSON
what to do:

- network: the path of an ONNX file; labels, head and size: what its output means
- engine, precision: what computes, and with which numbers
- streams, threads: how many inferences run at once, and on how many cores each of them
"""

import json
import os
import queue
import sys

import cv2
import numpy as np

from barevision.detection.network_input import to_blob, to_image_rows
from barevision.detection.network_output import Head, to_rows
from barevision.detection.selection import Selection, clip, select_detections
from barevision.pictures.decode import decode_reduced

_MAX_PIXELS, _MAX_SIDE = 50_000_000, 20_000


class Work:
    """Detects with the network of the task. Several threads at once may ask it."""

    def __init__(self) -> None:
        self.task = json.loads(os.environ["BENCH_TASK"])
        self.infer = {"onnxruntime": _onnx_runtime, "openvino": _openvino}[self.task["engine"]](self.task)
        self._size, self._head = tuple(self.task["size"]), Head(**self.task["head"])
        # A server's threads are as many as its cores need; OpenCV's own would fight them.
        cv2.setNumThreads(1)

    def __call__(self, picture: bytes) -> list[dict]:
        """What `POST /predict` answers for the encoded `picture`."""
        least = tuple(2 * side for side in self._size)
        image, size = decode_reduced(picture, _MAX_PIXELS, _MAX_SIDE, least)
        output = self.infer(to_blob(image, self._size, self._head.fit))
        rows = to_rows(output, self._head, self._size, len(self.task["labels"]))
        rows = to_image_rows(rows, image.shape[:2], self._size, self._head.fit)
        nms = 1.0 if self._head.is_chosen else 0.3
        detections = select_detections(rows, size, self.task["labels"], Selection(nms=nms))
        if self._head.fit in ("letterbox", "yolox"):
            detections = [clip(detection, size) for detection in detections]
        return [detection.to_json() for detection in detections]


def _onnx_runtime(task: dict):
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task["threads"]
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(task["network"], options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda blob: session.run(None, {name: blob})[0][0]


def _openvino(task: dict):
    # OpenVINO's converter, which is imported with it, tells Google Analytics of every import unless it can't be had.
    sys.modules["openvino.tools.ovc"] = None
    import openvino

    settings = {
        "NUM_STREAMS": task["streams"],
        "INFERENCE_NUM_THREADS": task["streams"] * task["threads"],
        # Else all processes bind themselves to the same core.
        "ENABLE_CPU_PINNING": False,
    }
    # Two threads that hand over their first arrays at once wait for each other for ever, in pybind11's own first call.
    openvino.Tensor(np.zeros(1, np.float32))
    # A quantized network says itself what is int8; the rest of it is computed with what the processor is best at.
    if task["precision"] != "int8":
        settings["INFERENCE_PRECISION_HINT"] = task["precision"]
    compiled = openvino.Core().compile_model(task["network"], "CPU", settings)
    real = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if task["precision"] not in (real, "int8"):
        sys.exit(f"this processor can't compute with {task['precision']}, only with {real}")
    free = queue.SimpleQueue()
    for _ in range(task["streams"]):
        free.put(compiled.create_infer_request())

    def infer(blob: np.ndarray) -> np.ndarray:
        request = free.get()
        try:
            request.infer({0: blob}, share_inputs=True, share_outputs=True)
            return request.get_output_tensor(0).data[0].copy()
        finally:
            free.put(request)

    return infer
