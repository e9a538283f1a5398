"""``GET /openapi.json`` and the page that shows it, ``GET /docs``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from flask import Blueprint, Response, abort, current_app, send_file

from barevision.api.openapi import openapi_document, operation
from barevision.api.page import CONTENT_POLICY
from barevision.api.service import current_service

bp = Blueprint("documents", __name__)

_OURS = Path(__file__).parent / "docs"
# Swagger UI's pictures are data: URLs in its style.
_POLICY = f"{CONTENT_POLICY}; img-src 'self' data:"


@bp.get("/openapi.json")
@operation("This document", answers={200: {"application/json": {"type": "object"}}})
def openapi() -> dict:
    """What there is, in OpenAPI's words."""
    # Routes don't change once requests come in.
    if "openapi" not in current_app.extensions:
        labels = current_service().detector.model.labels
        current_app.extensions["openapi"] = openapi_document(current_app, {"classes": labels})
    return current_app.extensions["openapi"]


@bp.get("/docs")
@operation("This document, to read and try", answers={200: {"text/html": {"type": "string"}}})
def docs() -> Response:
    """Swagger UI, from this service alone."""
    page = (_OURS / "index.html").read_text("utf-8")
    return Response(page, headers={"Content-Security-Policy": _POLICY}, content_type="text/html; charset=utf-8")


@bp.get("/docs/<name>")
def docs_file(name: str) -> Response:
    """A file that the page is made of."""
    # The package is here for these files alone: its own blueprint would serve a page with scripts inside.
    (package,) = find_spec("flask_swagger_ui").submodule_search_locations
    swagger = Path(package, "dist")
    files = {
        "start.js": _OURS / "start.js",
        "swagger-ui-bundle.js": swagger / "swagger-ui-bundle.js",
        "swagger-ui.css": swagger / "swagger-ui.css",
    }
    if name not in files:
        abort(404)
    return send_file(files[name])
