"""A network that is loaded twice: with many cores for an inference on its own, in streams for a crowd."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np

from barevision.engines import Engine
from barevision.processes import Process


class DoubledEngine:
    """See `Engine`. It costs the weights' memory twice, so only networks with small ones are run so.

    :param crowd: the network in streams.
    :param alone: the same one for an inference that no other runs beside, in no process of the service.
    :param process: which one of them this is.
    """

    def __init__(self, crowd: Engine, alone: Engine, process: Process) -> None:
        self._crowd, self._alone, self._process = crowd, alone, process
        self.input_size = self._crowd.input_size
        self.plan = replace(self._crowd.plan, lone_threads=self._alone.plan.threads)
        self._lock = threading.Lock()

    def infer(self, blob: np.ndarray) -> np.ndarray:
        with self._lock:
            is_alone = not any(numbers.inferring for numbers in self._process.everyone())
            self._process.numbers.inferring += 1
        engine = self._alone if is_alone else self._crowd
        try:
            return engine.infer(blob)
        finally:
            with self._lock:
                self._process.numbers.inferring -= 1
