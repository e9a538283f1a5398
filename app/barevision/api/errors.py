"""Errors as RFC 9457 problem details."""

from __future__ import annotations

import json

from flask import Flask, Response, current_app
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException, InternalServerError, RequestEntityTooLarge

from barevision.detection import ImageError, ImageTooLargeError
from barevision.detector import BusyError

_RETRY_SECONDS = 1


def problem(status: int, title: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    """An ``application/problem+json`` response."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Response(json.dumps(body), status, headers, content_type="application/problem+json")


def register_errors(app: Flask) -> None:
    """Makes every error of `app` a problem document."""
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(ImageTooLargeError, lambda error: problem(413, "Content Too Large", str(error)))
    app.register_error_handler(ImageError, lambda error: problem(400, "Bad Request", str(error)))
    # Gunicorn reads a body in chunks while the app does.
    app.register_error_handler(ParseException, lambda error: problem(400, "Bad Request", f"the body: {error}"))
    app.register_error_handler(
        BusyError,
        lambda error: problem(503, "Service Unavailable", str(error), {"Retry-After": str(_RETRY_SECONDS)}),
    )


def _http_error(error: HTTPException) -> Response:
    if error.response is not None:
        return error.response
    detail = error.description or ""
    if isinstance(error, RequestEntityTooLarge):
        allowed = current_app.extensions["detector"].settings.max_bytes
        parts = current_app.config["MAX_FORM_PARTS"]
        detail = f"the request is larger than {allowed} bytes, or a form with more than {parts} parts"
    if isinstance(error, InternalServerError):
        detail = "the service failed; its log says why"
    # Allow, Retry-After and the like are part of the error.
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    return problem(error.code, error.name, detail, headers)
