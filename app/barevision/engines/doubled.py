"""A network that is loaded twice: with many cores for an inference on its own, in streams for a crowd."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np

from barevision.engines import Plan, load_engine


class DoubledEngine:
    """See `Engine`. It costs the weights' memory twice, so only networks with small ones are run so."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self._crowd = load_engine(replace(plan, lone_threads=0), path)
        self._alone = load_engine(Plan(plan.engine, plan.precision, 1, plan.lone_threads), path)
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
