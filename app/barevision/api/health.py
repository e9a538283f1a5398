"""Whether the process lives, and whether its model answers rightly."""

from __future__ import annotations

import logging

from flask import Blueprint, current_app
from pydantic import BaseModel
from werkzeug.exceptions import ServiceUnavailable

from barevision.api.describe import operation
from barevision.detector import Detector, WrongAnswerError

health = Blueprint("health", __name__)
_log = logging.getLogger(__name__)


class Healthy(BaseModel):
    """The process answers."""

    status: str


class ReadyModel(BaseModel):
    """The model answered its golden image rightly."""

    status: str
    model: str
    detail: str


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
@operation("Whether the process lives", answers={200: {"application/json": Healthy}})
def healthz() -> dict:
    """The process answers."""
    return {"status": "ok"}


@health.get("/readyz")
@operation("Whether the model answers rightly", answers={200: {"application/json": ReadyModel}}, errors=(503,))
def readyz() -> dict:
    """The model answered its golden image rightly."""
    ready, finding = current_app.extensions["readiness"]
    if not ready:
        raise ServiceUnavailable(finding)
    return {
        "status": "ready",
        "model": current_app.extensions["detector"].model.name,
        "detail": finding,
    }
