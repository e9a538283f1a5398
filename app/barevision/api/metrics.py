"""What a Prometheus server collects."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from barevision.api.admission import Admission
from barevision.api.readiness import Readiness
from barevision.engines import Plan

# From a tenth of a millisecond, what waiting costs when nobody waits, to the longest that a request may wait.
_BUCKETS = (0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
#: The methods that routes have, in the order in which errors name them.
METHODS = ("GET", "POST", "HEAD", "OPTIONS")

# Prometheus' client would add a line for when each number was first counted: as many lines again, which nobody reads.
disable_created_metrics()


class Metrics:
    """The numbers of one process."""

    def __init__(self, model: str, plan: Plan, admission: Admission, readiness: Readiness) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "barevision_requests", "Requests that were answered", ["method", "path", "status"], registry=registry
        )
        self._stages = Histogram(
            "barevision_stage_seconds",
            "How long predictions took: wait for a turn, decode, infer, select, draw",
            ["stage"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.refused = Counter("barevision_refused", "Requests for predictions answered 503, busy", registry=registry)
        waiting = Gauge("barevision_waiting", "Requests that wait for their turn", registry=registry)
        waiting.set_function(lambda: admission.waiting)
        in_flight = Gauge("barevision_in_flight", "Requests whose turn it is", registry=registry)
        in_flight.set_function(lambda: admission.predicting)
        ready = Gauge("barevision_ready", "Whether /readyz says so: 1 or 0", registry=registry)
        ready.set_function(lambda: readiness.is_ready)
        last_success = Gauge(
            "barevision_last_success_timestamp_seconds",
            "When a prediction last succeeded, in seconds since 1970",
            registry=registry,
        )
        last_success.set_function(lambda: readiness.last_success)
        oldest = Gauge(
            "barevision_oldest_prediction_seconds",
            "For how long the oldest prediction has been running; 0 if none is",
            registry=registry,
        )
        oldest.set_function(lambda: readiness.oldest_seconds)
        Info("barevision_model", "What is served, and what runs it", registry=registry).info(
            {
                "name": model,
                "engine": plan.engine,
                "precision": plan.precision,
                "streams": str(plan.streams),
                "threads": str(plan.threads),
            }
        )

    def count(self, method: str, path: str | None, status: int) -> None:
        """Counts an answered request.

        :param path: the path as routes name it, "/v2/models/<name>"; None where there is no such path.
        """
        # Clients may invent methods and paths; each new one would cost memory here and in Prometheus.
        self._requests.labels(method if method in METHODS else "other", path or "other", status).inc()

    def time(self, stage: str, seconds: float) -> None:
        """Notes how long the stage of a prediction took."""
        self._stages.labels(stage).observe(seconds)
