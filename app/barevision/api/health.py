"""Whether the process lives, and whether its model answers rightly."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, current_app

from barevision.api.errors import problem
from barevision.detector import Detector, WrongAnswerError

health = Blueprint("health", __name__)
_log = logging.getLogger(__name__)


def readiness(detector: Detector) -> tuple[bool, str]:
    """Whether the model answers its golden image rightly, and the finding in words.

    Asked once, at the start: it warms the engine up, and neither model nor engine changes afterwards.
    """
    try:
        return True, detector.check()
    except WrongAnswerError as error:
        _log.error("not ready: %s", error)
        return False, str(error)


@health.get("/healthz")
def healthz() -> dict:
    """The process answers."""
    return {"status": "ok"}


@health.get("/readyz")
def readyz() -> dict | Response:
    """The model answered its golden image rightly."""
    ready, finding = current_app.extensions["readiness"]
    if not ready:
        return problem(503, "Service Unavailable", finding)
    return {
        "status": "ready",
        "model": current_app.extensions["detector"].model.name,
        "detail": finding,
    }
