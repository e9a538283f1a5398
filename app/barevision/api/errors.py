"""What went wrong, in words, and in the form that the asked path's clients expect."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from flask import Flask, Response, current_app, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import (
    HTTPException,
    InternalServerError,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
)

from barevision.api.service import service
from barevision.errors import BusyError, PictureError, PictureTooLargeError, UnknownLabelError

_RETRY_SECONDS = 1
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Problem:
    """An error as a client is told of it; `headers` such as Retry-After are part of it."""

    status: int
    title: str
    detail: str
    headers: dict[str, str] = field(default_factory=dict)


#: How a dialect answers errors.
Form = Callable[[Problem], Response]


def problem_document(problem: Problem) -> dict:
    """`problem` as RFC 9457 has it."""
    return {"type": "about:blank", "title": problem.title, "status": problem.status, "detail": problem.detail}


def problem_response(problem: Problem) -> Response:
    """`problem` as an ``application/problem+json`` response."""
    body = json.dumps(problem_document(problem))
    return Response(body, problem.status, problem.headers, content_type="application/problem+json")


def error_response(problem: Problem, body: dict) -> Response:
    """`problem` in a dialect's own form: `body` as JSON."""
    return Response(json.dumps(body), problem.status, problem.headers, content_type="application/json")


def shown(value: object) -> str:
    """`value` as an error message quotes it: a request's own words may be megabytes."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def explain(error: Exception) -> Problem:
    """`error`, one of those that `register_errors` handles, for clients.

    What came unexpected is a 500 that tells nothing of the inside.
    """
    if isinstance(error, PictureTooLargeError):
        return Problem(413, "Content Too Large", str(error))
    # Gunicorn reads a body in chunks while the app does.
    if isinstance(error, ParseException):
        return Problem(400, "Bad Request", f"the body: {error}")
    if isinstance(error, PictureError):
        return Problem(400, "Bad Request", str(error))
    if isinstance(error, UnknownLabelError):
        return Problem(422, "Unprocessable Entity", str(error))
    if isinstance(error, BusyError):
        return Problem(503, "Service Unavailable", str(error), {"Retry-After": str(_RETRY_SECONDS)})
    if not isinstance(error, HTTPException):
        error = InternalServerError()
    detail = error.description or ""
    if isinstance(error, RequestEntityTooLarge):
        allowed = service.detector.settings.max_bytes
        parts = current_app.config["MAX_FORM_PARTS"]
        detail = f"the request is larger than {allowed} bytes, or a form with more than {parts} parts"
    if isinstance(error, NotFound) and detail == NotFound.description:
        detail = f"there is nothing at {shown(request.path)}; /docs shows what there is"
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        detail = f"{shown(request.path)} is not to be had by {shown(request.method)}, allowed are {allowed}"
    if isinstance(error, InternalServerError):
        detail = "the service failed; its log says why"
    # Allow, Retry-After and the like are part of the error.
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    return Problem(error.code, error.name, detail, headers)


def register_errors(app: Flask, dialects: dict[str, Form]) -> None:
    """Makes every error of `app` a problem document, or what `dialects` says for paths that begin so."""

    def answer(error: Exception) -> Response:
        for beginning, form in dialects.items():
            if request.path == beginning or request.path.startswith(f"{beginning}/"):
                return form(explain(error))
        return problem_response(explain(error))

    for kind in (HTTPException, ParseException, PictureError, UnknownLabelError, BusyError):
        app.register_error_handler(kind, answer)
