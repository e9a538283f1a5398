"""An engine whose answers a test decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from barevision.engines import Engine, Plan


@dataclass
class FakeEngine:
    """Stands in for an `Engine`. A test assigns another `infer`, which may answer anything or fail::

    engine = FakeEngine.like(detector.engine)
    app = create_app(replace(detector, engine=engine))
    engine.infer = lambda blob: 1 / 0
    """

    input_size: tuple[int, int]
    infer: Callable[[np.ndarray], np.ndarray]
    plan: Plan = field(default_factory=Plan)

    @classmethod
    def like(cls, engine: Engine) -> FakeEngine:
        """One that answers as `engine` does at first: a service tries its model when it starts."""
        return cls(engine.input_size, engine.infer, engine.plan)
