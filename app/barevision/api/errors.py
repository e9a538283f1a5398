"""What went wrong, in words, and in the form that the clients of the requested path expect."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from flask import Flask, Response, request
from gunicorn.http.errors import ParseException
from pydantic import BaseModel
from werkzeug.exceptions import (
    HTTPException,
    InternalServerError,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
)

from barevision.api.metrics import METHODS
from barevision.api.service import current_service
from barevision.errors import BusyError, PictureError, PictureTooLargeError, UnknownLabelError, shortened

# Text is cut before it is quoted, which would make a copy of megabytes.
_QUOTED_CHARACTERS = 100

#: The header that an answer 503 has beside the usual ones, for the OpenAPI document.
RETRY_HEADER = {"Retry-After": {"description": "Seconds after which to come back"}}


class ProblemDocument(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


@dataclass(frozen=True)
class Problem:
    """What went wrong, for a client; `headers` such as Retry-After are part of it."""

    status: int
    title: str
    detail: str
    headers: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict:
        """The problem as RFC 9457 has it."""
        return {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail}

    def response(self, body: dict, content_type: str = "application/json") -> Response:
        """The problem in a dialect's own form: `body` as JSON."""
        return Response(json.dumps(body), self.status, self.headers, content_type=content_type)


def quoted(value: object) -> str:
    """`value` as an error message quotes it."""
    return shortened(repr(value[:_QUOTED_CHARACTERS] if isinstance(value, str) else value))


def explain(error: Exception) -> Problem:
    """What clients are told of `error`, which is of a kind that `register_errors` handles.

    An error that nobody foresaw is a 500 that tells nothing of the inside.
    """
    match error:
        case PictureTooLargeError():
            return Problem(413, "Content Too Large", str(error))
        case PictureError():
            return Problem(400, "Bad Request", str(error))
        case ParseException():
            # Gunicorn reads a body in chunks while the app does.
            return Problem(400, "Bad Request", f"the body: {error}")
        case UnknownLabelError():
            return Problem(422, "Unprocessable Entity", str(error))
        case BusyError():
            return Problem(503, "Service Unavailable", str(error), {"Retry-After": str(error.seconds)})
        case RequestEntityTooLarge():
            allowed = current_service().detector.settings.max_bytes
            is_body = error.description == RequestEntityTooLarge.description
            detail = f"the body is larger than {allowed} bytes" if is_body else error.description
            # RFC 9110's name for it. Werkzeug's is that of an older RFC.
            return Problem(413, "Content Too Large", detail)
        case NotFound() if error.description == NotFound.description:
            # Not request.path, which has one slash where the address has two.
            path = request.environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
            detail = f"there is nothing at {quoted(path)}; /docs shows what there is"
        case MethodNotAllowed():
            allowed = ", ".join(sorted(error.valid_methods or (), key=METHODS.index))
            method = shortened(request.method)
            detail = f"{quoted(request.path)} does not allow {method}; allowed: {allowed}"
        case HTTPException() if not isinstance(error, InternalServerError):
            detail = error.description or ""
        case _:
            error, detail = InternalServerError(), "the service failed; its log says why"
    # Allow, Retry-After and the like are part of the error.
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    return Problem(error.code, error.name, detail, headers)


def register_errors(app: Flask, dialects: dict[str, Callable[[Problem], Response]]) -> None:
    """Makes every error of `app` a problem document, or what `dialects` says for paths that begin so."""

    def answer(error: Exception) -> Response:
        problem = explain(error)
        for prefix, response in dialects.items():
            if request.path == prefix or request.path.startswith(f"{prefix}/"):
                return response(problem)
        return problem.response(problem.document(), "application/problem+json")

    for kind in (HTTPException, ParseException, PictureError, UnknownLabelError, BusyError):
        app.register_error_handler(kind, answer)
