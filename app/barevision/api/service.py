"""What all requests to an app share."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from flask import current_app

from barevision.api.admission import Admission
from barevision.api.metrics import Metrics
from barevision.detector import Detector
from barevision.errors import EngineError, WrongAnswerError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Readiness:
    """Whether the model answers its golden image rightly, and what the check said."""

    is_ready: bool
    finding: str


@dataclass(frozen=True)
class Service:
    """A detector, who may ask it, what is counted, and whether it answers rightly."""

    detector: Detector
    admission: Admission
    metrics: Metrics
    readiness: Readiness


def make_service(detector: Detector) -> Service:
    """The service of `detector`, which is checked here once: that warms the engine up, and no model changes later."""
    settings = detector.settings
    try:
        readiness = Readiness(True, detector.check())
    except (EngineError, WrongAnswerError) as error:
        _log.error("not ready: %s", error)
        readiness = Readiness(False, str(error))
    streams = detector.engine.plan.streams
    # While inferences share cores, one more picture is decoded for whichever is done first. Where each has a core of
    # its own, decoding beside them would only take cores from them: 8 % fewer pictures a second.
    turns = streams + 1 if streams < settings.threads else streams
    admission = Admission(turns, settings.max_pixels, settings.max_wait)
    metrics = Metrics(detector.model.name, detector.engine.plan, admission)
    return Service(detector, admission, metrics, readiness)


def current_service() -> Service:
    """The service of Flask's current app."""
    return current_app.extensions["barevision"]
