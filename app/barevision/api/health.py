"""Whether the process lives, and whether its model answers rightly."""

from __future__ import annotations

import logging
from typing import NamedTuple

from flask import Blueprint
from pydantic import BaseModel
from werkzeug.exceptions import ServiceUnavailable

from barevision.api.describe import operation
from barevision.api.service import service
from barevision.detector import Detector
from barevision.errors import WrongAnswerError

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


class Readiness(NamedTuple):
    """Whether the model answers its golden image rightly, and the finding in words."""

    is_ready: bool
    finding: str


def readiness(detector: Detector) -> Readiness:
    """Whether `detector` is ready.

    Asked once, at the start: it warms the engine up, and neither model nor engine changes afterwards.
    """
    try:
        return Readiness(True, detector.check())
    except WrongAnswerError as error:
        _log.error("not ready: %s", error)
        return Readiness(False, str(error))


def ready_finding() -> str:
    """What made the service ready.

    :raises ServiceUnavailable: it is not.
    """
    if not service.readiness.is_ready:
        raise ServiceUnavailable(service.readiness.finding)
    return service.readiness.finding


@health.get("/healthz")
@operation("Whether the process lives", answers={200: {"application/json": Healthy}})
def healthz() -> dict:
    """The process answers."""
    return {"status": "ok"}


@health.get("/readyz")
@operation("Whether the model answers rightly", answers={200: {"application/json": ReadyModel}}, errors=(503,))
def readyz() -> dict:
    """The model answered its golden image rightly."""
    return {"status": "ready", "model": service.detector.model.name, "detail": ready_finding()}
