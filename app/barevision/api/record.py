"""What is known of a request when it is answered: its ID, headers, a line in the log, and numbers."""

from __future__ import annotations

import logging
import re
import time
import uuid
from dataclasses import dataclass, field

from flask import Flask, Response, g, request

from barevision.api.service import service

_log = logging.getLogger(__name__)
_REQUEST_ID = "X-Request-ID"
# As in roles/nginx: what is harmless in a log is kept.
_HARMLESS_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass
class Record:
    """What happened to a request.

    :ivar seconds: how long the stages of its predictions took, by name.
    :ivar sizes: [width, height] of its pictures in pixels.
    :ivar objects: how many were found.
    :ivar gone: its client did not wait.
    """

    id: str
    began: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)
    sizes: list[list[int]] = field(default_factory=list)
    objects: int | None = None
    gone: bool = False

    def milliseconds(self) -> float:
        """Since the request began."""
        return (time.perf_counter() - self.began) * 1000

    def milliseconds_by_stage(self) -> dict[str, float]:
        """Of the stages that there were."""
        return {stage: seconds * 1000 for stage, seconds in self.seconds.items()}

    def lap(self, stage: str, seconds: float) -> None:
        """Adds to the stage's time: a request may have several pictures."""
        self.seconds[stage] = self.seconds.get(stage, 0) + seconds
        service.metrics.time(stage, seconds)


def record() -> Record:
    """The current request's."""
    return g.record


def register_record(app: Flask) -> None:
    """Gives every answer of `app` its headers, and the log its line."""
    app.before_request(_begin)
    app.after_request(_finish)


def _begin() -> None:
    given = request.headers.get(_REQUEST_ID, "")
    g.record = Record(given if _HARMLESS_ID.fullmatch(given) else uuid.uuid4().hex)


def _finish(response: Response) -> Response:
    found = record()
    response.headers[_REQUEST_ID] = found.id
    stages = {**found.milliseconds_by_stage(), "total": found.milliseconds()}
    response.headers["Server-Timing"] = ", ".join(f"{stage};dur={value:.3f}" for stage, value in stages.items())
    rule = request.url_rule
    service.metrics.count(request.method, rule and rule.rule, response.status_code)
    _log.log(_level(response.status_code), "request", extra=_fields(found, response))
    return response


def _fields(found: Record, response: Response) -> dict:
    """The line in the log: no picture, and no query, where a client may have put a key."""
    return {
        "request_id": found.id,
        "client": request.headers.get("X-Forwarded-For") or request.remote_addr or None,
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "outcome": _outcome(found, response.status_code),
        "bytes_in": request.content_length,
        "bytes_out": response.content_length,
        "ms": round(found.milliseconds(), 3),
        "stages_ms": {stage: round(value, 3) for stage, value in found.milliseconds_by_stage().items()},
        "pictures": found.sizes,
        "objects": found.objects,
    }


def _outcome(found: Record, status: int) -> str:
    if found.gone:
        return "gone"
    if status < 400:
        return "answered"
    if status < 500:
        return "refused"
    return "unavailable" if status == 503 else "failed"


def _level(status: int) -> int:
    if status < 500:
        return logging.INFO
    return logging.WARNING if status == 503 else logging.ERROR
