"""What all requests to an app share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flask import current_app
from werkzeug.local import LocalProxy

from barevision.detector import Detector

if TYPE_CHECKING:
    from barevision.api.admission import Door
    from barevision.api.health import Readiness
    from barevision.api.metrics import Metrics


@dataclass(frozen=True)
class Service:
    """A detector, the places before it, what is counted, and whether it answers rightly."""

    detector: Detector
    door: Door
    metrics: Metrics
    readiness: Readiness


#: That of Flask's current app.
service = cast(Service, LocalProxy(lambda: current_app.extensions["barevision"]))
