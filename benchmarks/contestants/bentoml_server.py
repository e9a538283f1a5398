"""BentoML: BENCH_WORKERS processes, each with BENCH_SERVER_THREADS threads for the work."""

import os

import bentoml
from work import Work


@bentoml.service(
    workers=int(os.environ["BENCH_WORKERS"]),
    threads=int(os.environ["BENCH_SERVER_THREADS"]),
    traffic={"timeout": 120},
)
class Detector:
    def __init__(self) -> None:
        self.work = Work()

    # What stands before the slash is the whole body.
    @bentoml.api(route="/predict")
    def predict(self, picture: bytes, /) -> list[dict]:
        return self.work(picture)
