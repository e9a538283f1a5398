"""What is known of a request when it is answered: its ID, headers, a line in the log, and numbers."""

from __future__ import annotations

import contextlib
import logging
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from flask import Flask, Response, g, request

from barevision.api.metrics import Metrics
from barevision.api.service import current_service
from barevision.serving.worker import TICKET

_log = logging.getLogger(__name__)
_REQUEST_ID = "X-Request-ID"
# As in roles/nginx: a client's own ID is kept if it is harmless in a log.
_HARMLESS_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

#: The headers that every answer has, for the OpenAPI document.
HEADERS = {
    _REQUEST_ID: {"description": "The request's own, or one made for it: it is in the logs", "required": True},
    "Server-Timing": {"description": "Milliseconds by stage, and in total", "required": True},
}


@dataclass
class Record:
    """What happened to a request.

    :ivar seconds: how long the stages of its predictions took, by name.
    :ivar sizes: [width, height] of its pictures in pixels.
    :ivar detections: how many were answered; None if no picture was predicted.
    :ivar client_is_gone: whether the client did not wait for the answer.
    :ivar key: the name of the key that it was sent with; None where none is needed.
    """

    id: str
    metrics: Metrics
    began: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)
    sizes: list[list[int]] = field(default_factory=list)
    detections: int | None = None
    client_is_gone: bool = False
    key: str | None = None

    def milliseconds(self) -> float:
        """Since the request began."""
        return (time.perf_counter() - self.began) * 1000

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the time that passes within to the stage's, also if it ends in an error."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - began)

    def add(self, stage: str, seconds: float) -> None:
        """Adds to the stage's time: a request may have several pictures."""
        self.seconds[stage] = self.seconds.get(stage, 0) + seconds
        self.metrics.time(stage, seconds)


def current_record() -> Record:
    """The record of the current request."""
    return g.record


def register_record(app: Flask) -> None:
    """Gives every answer of `app` its headers, and the log its line."""

    def begin() -> None:
        own = request.headers.get(_REQUEST_ID, "")
        g.record = Record(own if _HARMLESS_ID.fullmatch(own) else uuid.uuid4().hex, current_service().metrics)
        ticket = request.environ.get(TICKET)
        if ticket is not None:
            # It waited for a thread before Flask saw it.
            g.record.began = ticket.arrived

    def finish(response: Response) -> Response:
        record, status = current_record(), response.status_code
        stages = {stage: seconds * 1000 for stage, seconds in record.seconds.items()}
        total = record.milliseconds()
        response.headers[_REQUEST_ID] = record.id
        response.headers["Server-Timing"] = ", ".join(
            f"{stage};dur={milliseconds:.3f}" for stage, milliseconds in {**stages, "total": total}.items()
        )
        record.metrics.count(request.method, request.url_rule and request.url_rule.rule, status)
        # No picture is logged, and no query, where a client may have put a key.
        fields = {
            "request_id": record.id,
            "client": request.headers.get("X-Forwarded-For") or request.remote_addr or None,
            "method": request.method,
            "path": request.path,
            "status": status,
            "outcome": "gone" if record.client_is_gone else _outcome(status),
            "bytes_in": request.content_length,
            "bytes_out": response.content_length,
            "ms": round(total, 3),
            "stages_ms": {stage: round(milliseconds, 3) for stage, milliseconds in stages.items()},
            "pictures": record.sizes,
            "objects": record.detections,
        }
        if record.key:
            fields["key"] = record.key
        level = logging.INFO if status < 500 else logging.WARNING if status == 503 else logging.ERROR
        _log.log(level, "request", extra=fields)
        return response

    app.before_request(begin)
    app.after_request(finish)


def _outcome(status: int) -> str:
    if status < 400:
        return "answered"
    if status < 500:
        return "refused"
    return "unavailable" if status == 503 else "failed"
