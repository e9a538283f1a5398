"""A network that is loaded twice: with many cores for an inference on its own, in streams for a crowd."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np

from barevision.engines import Engine


class DoubledEngine:
    """See `Engine`. It costs the weights' memory twice, so only networks with small ones are run so.

    :param crowd: the network in streams.
    :param alone: the same one for an inference that no other runs beside.
    """

    def __init__(self, crowd: Engine, alone: Engine) -> None:
        self._crowd, self._alone = crowd, alone
        self.input_size = self._crowd.input_size
        self.plan = replace(self._crowd.plan, lone_threads=self._alone.plan.threads)
        self._lock = threading.Lock()
        self._running = 0

    def infer(self, blob: np.ndarray) -> np.ndarray:
        with self._lock:
            engine = self._crowd if self._running else self._alone
            self._running += 1
        try:
            return engine.infer(blob)
        finally:
            with self._lock:
                self._running -= 1
