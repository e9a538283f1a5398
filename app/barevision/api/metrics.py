"""What a Prometheus server collects: of all processes of the service, whichever of them is asked."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics, values
from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from barevision import __version__
from barevision.api.readiness import Readiness
from barevision.engines import Plan
from barevision.engines.processor import this_processor
from barevision.processes import Process
from barevision.release import release_commit, release_time

# From a tenth of a millisecond, what waiting costs when nobody waits, to the longest that a request may wait.
_BUCKETS = (0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
#: The methods that routes have, in the order in which errors name them.
METHODS = ("GET", "POST", "HEAD", "OPTIONS")

# Prometheus' client would add a line for when each number was first counted: as many lines again, which nobody reads.
disable_created_metrics()
# The variable that names the folder in which Prometheus' client keeps the counts of several processes.
_COUNTS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
# Of each of its files. A thousand counts have room.
_COUNTS_BYTES = 128 * 1024
# A line each, here and in Prometheus.
_MOST_LABELS = 100


class Metrics:
    """The numbers of a service."""

    def __init__(self, model: str, plan: Plan, readiness: Readiness, process: Process) -> None:
        self.registry = CollectorRegistry()
        counts = self.registry
        if folder := os.environ.get(_COUNTS_FOLDER):
            _make_counts(Path(folder), process.number)
            # A file for each place rather than each process: one that follows another goes on with its counts.
            values.ValueClass = values.MultiProcessValue(lambda: process.number)
            MultiProcessCollector(self.registry, folder)
            counts = None
        self._requests = Counter(
            "barevision_requests", "Requests that were answered", ["method", "path", "status"], registry=counts
        )
        self._stages = Histogram(
            "barevision_stage_seconds",
            "How long predictions took: wait for a turn, decode, infer, select, draw",
            ["stage"],
            buckets=_BUCKETS,
            registry=counts,
        )
        self._objects = Counter(
            "barevision_objects", "Objects that were found, by their label", ["label"], registry=counts
        )
        self._labels: set[str] = set()
        self.refused = Counter("barevision_refused", "Requests for predictions answered 503, busy", registry=counts)
        self.registry.register(_Now(model, plan, readiness, process))

    def count(self, method: str, path: str | None, status: int) -> None:
        """Counts an answered request.

        :param path: the path as routes name it, "/v2/models/<name>"; None where there is no such path.
        """
        # Clients may invent methods and paths; each new one would cost memory here and in Prometheus.
        self._requests.labels(method if method in METHODS else "other", path or "other", status).inc()

    def time(self, stage: str, seconds: float) -> None:
        """Notes how long the stage of a prediction took."""
        self._stages.labels(stage).observe(seconds)

    def count_objects(self, labels: Iterable[str]) -> None:
        """Counts what was found on a picture: each of the first labels that come by itself, the others together."""
        for label, found in collections.Counter(labels).items():
            if len(self._labels) < _MOST_LABELS:
                self._labels.add(label)
            self._objects.labels(label if label in self._labels else "other").inc(found)


def _make_counts(folder: Path, place: int) -> None:
    """Makes the files that a process counts in, whole, with room that nobody else can take.

    Where there is none when it is written to, the system ends the process.
    """
    for kind in ("counter", "histogram"):
        path = folder / f"{kind}_{place}.db"
        if not path.exists():
            beside = path.with_suffix(".partial")
            with beside.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, _COUNTS_BYTES)
            beside.rename(path)


class _Now(Collector):
    """What is so at the moment."""

    def __init__(self, model: str, plan: Plan, readiness: Readiness, process: Process) -> None:
        self._model, self._plan, self._readiness, self._process = model, plan, readiness, process
        self._processor = this_processor().name

    def collect(self) -> Iterator[Metric]:
        self._readiness.show()
        # One that is only starting has nothing to say yet.
        all_numbers = [numbers for numbers in self._process.everyone() if numbers.pid]
        plan = self._plan
        yield InfoMetricFamily(
            "barevision_model",
            "What is served, and what runs it",
            {
                "name": self._model,
                "engine": plan.engine,
                "precision": plan.precision,
                "streams": str(plan.streams * plan.processes),
                "threads": str(plan.threads),
                "processor": self._processor,
            },
        )
        build = {"version": __version__, "commit": release_commit() or ""}
        yield InfoMetricFamily("barevision_build", "The code that runs; without a commit, it is no release", build)
        if made := release_time():
            words = "When the release that runs was made, in seconds since 1970"
            yield GaugeMetricFamily("barevision_release_timestamp_seconds", words, made)
        for name, words, value in (
            ("processes", "Processes that have loaded the model", len(all_numbers)),
            ("waiting", "Requests that wait for their turn", sum(max(0, n.inside - n.predicting) for n in all_numbers)),
            ("in_flight", "Requests whose turn it is", sum(n.predicting for n in all_numbers)),
            ("ready", "Whether /readyz says so: 1 or 0", self._readiness.is_ready),
            (
                "last_success_timestamp_seconds",
                "When a prediction last succeeded, in seconds since 1970",
                max(n.last_success for n in all_numbers),
            ),
            (
                "oldest_prediction_seconds",
                "For how long the oldest prediction has been running; 0 if none is",
                max(n.oldest_seconds for n in all_numbers),
            ),
        ):
            yield GaugeMetricFamily(f"barevision_{name}", words, value)
        yield from _of_the_system([numbers.pid for numbers in all_numbers])


def _of_the_system(pids: list[int]) -> list[Metric]:
    """Memory, processor time and open files, as Prometheus' client names them, of the processes together."""
    together: dict[str, Metric] = {}
    for pid in pids:
        for metric in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():
            known = together.setdefault(metric.name, metric)
            if known is metric:
                continue
            (sample,), (more,) = known.samples, metric.samples
            is_limit = metric.name in ("process_start_time_seconds", "process_max_fds")
            value = min(sample.value, more.value) if is_limit else sample.value + more.value
            known.samples = [sample._replace(value=value)]
    return list(together.values())
