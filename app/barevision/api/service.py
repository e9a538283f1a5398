"""What all requests to an app share."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app

from barevision.api.admission import Admission
from barevision.api.metrics import Metrics
from barevision.api.readiness import Readiness
from barevision.detector import Detector


@dataclass(frozen=True)
class Service:
    """A detector, who may ask it, what is counted, and whether it answers rightly."""

    detector: Detector
    admission: Admission
    metrics: Metrics
    readiness: Readiness


def make_service(detector: Detector) -> Service:
    """The service of `detector`, which is checked here for the first time: that warms the engine up."""
    settings = detector.settings
    readiness = Readiness(detector.check, settings.check_after, settings.hung_after)
    streams = detector.engine.plan.streams
    # While inferences share cores, one more picture is decoded for whichever is done first. Where each has a core of
    # its own, decoding beside them would only take cores from them: 8 % fewer pictures a second.
    turns = streams + 1 if streams < settings.threads else streams
    admission = Admission(turns, settings.max_pixels, settings.max_wait)
    metrics = Metrics(detector.model.name, detector.engine.plan, admission, readiness)
    return Service(detector, admission, metrics, readiness)


def current_service() -> Service:
    """The service of Flask's current app."""
    return current_app.extensions["barevision"]
