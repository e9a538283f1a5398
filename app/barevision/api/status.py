"""What the service says of itself: whether it lives, is ready, what it serves, and its numbers."""

from __future__ import annotations

from flask import Blueprint, Response
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from werkzeug.exceptions import ServiceUnavailable

from barevision import __version__
from barevision.api.openapi import operation
from barevision.api.service import current_service
from barevision.engines import Precision
from barevision.release import release_commit

bp = Blueprint("status", __name__)


class Healthy(BaseModel):
    """The process answers."""

    status: str


class ReadyModel(BaseModel):
    """The model answered its golden image rightly."""

    status: str
    model: str
    detail: str


class ModelInfo(BaseModel):
    """What finds objects."""

    name: str
    labels: list[str]
    input_size: list[int] = Field(description="Width and height of what the network sees, in pixels")


class EngineInfo(BaseModel):
    """What runs it."""

    name: str
    precision: Precision = Field(description="What the network computes with, as the engine says")
    streams: int = Field(description="Inferences that run at once, in all processes")
    processes: int = Field(description="Processes that share them")
    threads: int = Field(description="Cores that each of them may use")
    lone_threads: int = Field(description="Cores that an inference may use which no other runs beside")


class Limits(BaseModel):
    """What is refused."""

    max_bytes: int
    max_pixels: int
    max_side: int
    max_wait: float = Field(description="Seconds: who would wait longer is refused")


class Defaults(BaseModel):
    """What counts where a request says nothing."""

    confidence: float
    nms: float


class Info(BaseModel):
    """What is served, how, and within which limits."""

    version: str
    commit: str | None
    model: ModelInfo
    engine: EngineInfo
    limits: Limits
    defaults: Defaults


@bp.get("/healthz")
@operation("Whether the process lives", answers={200: {"application/json": Healthy}})
def healthz() -> dict:
    """The process answers."""
    return {"status": "ok"}


@bp.get("/readyz")
@operation("Whether the model answers rightly", answers={200: {"application/json": ReadyModel}}, errors=(503,))
def readyz() -> dict:
    """The model answered its golden image rightly."""
    return {"status": "ready", "model": current_service().detector.model.name, "detail": require_ready()}


def require_ready() -> str:
    """What made the service ready, in words.

    :raises ServiceUnavailable: it is not ready.
    """
    readiness = current_service().readiness
    if not readiness.is_ready:
        raise ServiceUnavailable(readiness.finding)
    return readiness.finding


@bp.get("/info")
@operation("What is served", answers={200: {"application/json": Info}})
def info() -> dict:
    """Model, labels, engine in effect, limits, version and commit (null where it isn't a deployed release)."""
    detector = current_service().detector
    settings, plan = detector.settings, detector.engine.plan
    height, width = detector.engine.input_size
    return {
        "version": __version__,
        "commit": release_commit(),
        "model": {"name": detector.model.name, "labels": detector.model.labels, "input_size": [width, height]},
        "engine": {
            "name": plan.engine,
            "precision": plan.precision,
            "streams": plan.streams * plan.processes,
            "processes": plan.processes,
            "threads": plan.threads,
            "lone_threads": plan.lone_threads or plan.threads,
        },
        "limits": {
            "max_bytes": settings.max_bytes,
            "max_pixels": settings.max_pixels,
            "max_side": settings.max_side,
            "max_wait": settings.max_wait,
        },
        "defaults": {"confidence": settings.confidence, "nms": settings.nms},
    }


@bp.get("/metrics")
@operation("Numbers for Prometheus", answers={200: {"text/plain": {"type": "string"}}})
def metrics() -> Response:
    """Requests, latencies by stage, who waits, who was refused, memory and processor time, of all processes."""
    return Response(generate_latest(current_service().metrics.registry), content_type=CONTENT_TYPE_LATEST)
