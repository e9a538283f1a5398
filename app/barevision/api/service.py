"""What all requests to an app share."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app

from barevision.api.admission import Admission
from barevision.api.metrics import Metrics
from barevision.api.readiness import Readiness
from barevision.detector import Detector
from barevision.processes import Process, only_process


@dataclass(frozen=True)
class Service:
    """A detector, who may ask it, what is counted, and whether it answers rightly."""

    detector: Detector
    admission: Admission
    metrics: Metrics
    readiness: Readiness


def make_service(detector: Detector, process: Process | None = None) -> Service:
    """The service of `detector`, which is checked here for the first time: that warms the engine up.

    :param process: which one of the service's this is; None if it is the only one.
    """
    process = process or only_process()
    settings, plan = detector.settings, detector.engine.plan
    readiness = Readiness(detector.check, settings.check_after, settings.hung_after, process)
    # While inferences share cores, one more picture is decoded for whichever is done first. Where each has a core of
    # its own, decoding beside them would only take cores from them: 8 % fewer pictures a second.
    turns = plan.streams + 1 if plan.streams * plan.processes < settings.threads else plan.streams
    admission = Admission(turns, settings.max_pixels, settings.max_wait, process)
    return Service(detector, admission, Metrics(detector.model.name, plan, readiness, process), readiness)


def current_service() -> Service:
    """The service of Flask's current app."""
    return current_app.extensions["barevision"]
