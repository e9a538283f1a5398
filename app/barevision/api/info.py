"""``GET /info``: what is served, how, and within which limits."""

from __future__ import annotations

import re
from pathlib import Path

from flask import Blueprint, request
from pydantic import BaseModel, Field

from barevision import __version__
from barevision.api.admission import places
from barevision.api.describe import operation
from barevision.api.service import service
from barevision.serving.worker import THREADS

info = Blueprint("info", __name__)


class ModelInfo(BaseModel):
    """What finds objects."""

    name: str
    labels: list[str]
    input_size: list[int] = Field(description="Width and height of what the network sees, in pixels")


class EngineInfo(BaseModel):
    """What runs it."""

    name: str
    precision: str = Field(description="The type of the network's numbers")
    threads: int


class Limits(BaseModel):
    """What is refused."""

    max_bytes: int
    max_pixels: int
    max_side: int
    concurrency: int
    queue_seconds: float
    places: int | None = Field(description="Requests for predictions that may be here at once; null: not bounded")


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


@info.get("/info")
@operation("What is served", answers={200: {"application/json": Info}})
def show() -> dict:
    """Model, labels, engine in effect, limits, version and commit (null where it isn't a deployed release)."""
    detector = service.detector
    settings = detector.settings
    height, width = detector.engine.input_size
    threads = request.environ.get(THREADS)
    return {
        "version": __version__,
        "commit": release_commit(Path(__file__)),
        "model": {"name": detector.model.name, "labels": detector.model.labels, "input_size": [width, height]},
        "engine": {
            "name": settings.engine,
            "precision": detector.engine.precision,
            "threads": settings.threads,
        },
        "limits": {
            "max_bytes": settings.max_bytes,
            "max_pixels": settings.max_pixels,
            "max_side": settings.max_side,
            "concurrency": settings.concurrency,
            "queue_seconds": settings.queue_seconds,
            "places": threads and places(threads),
        },
        "defaults": {"confidence": settings.confidence, "nms": settings.nms},
    }


def release_commit(path: Path) -> str | None:
    """The commit of the release that `path` is a file of: a deployment names its folder so, `releases/<commit>`."""
    found = re.search(r"/releases/([0-9a-f]{40})/", str(path.resolve()))
    return found and found[1]
