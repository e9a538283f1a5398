"""``GET /openapi.json`` and the page that shows it, ``GET /docs``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from flask import Blueprint, Response, abort, current_app, send_file

from barevision.api.describe import openapi_document, operation
from barevision.api.service import service

documents = Blueprint("documents", __name__)

_OURS = Path(__file__).parent / "docs"
# Nothing from elsewhere, no script or style but the files below; Swagger UI's pictures are data: URLs in its style.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def _files() -> dict[str, Path]:
    # Only its files are wanted: the package itself would import a framework.
    (package,) = find_spec("flask_openapi3_swagger").submodule_search_locations
    swagger = Path(package, "templates", "swagger")
    return {
        "start.js": _OURS / "start.js",
        "swagger-ui-bundle.js": swagger / "js" / "swagger-ui-bundle.js",
        "swagger-ui.css": swagger / "css" / "swagger-ui.css",
    }


@documents.get("/openapi.json")
@operation("This document", answers={200: {"application/json": {"type": "object"}}})
def openapi() -> dict:
    """What there is, in OpenAPI's words."""
    # Routes don't change once requests come in.
    if "openapi" not in current_app.extensions:
        labels = service.detector.model.labels
        current_app.extensions["openapi"] = openapi_document(current_app, labels)
    return current_app.extensions["openapi"]


@documents.get("/docs")
@operation("This document, to read and try", answers={200: {"text/html": {"type": "string"}}})
def docs() -> Response:
    """Swagger UI, from this service alone."""
    page = (_OURS / "index.html").read_text("utf-8")
    return Response(page, headers={"Content-Security-Policy": _POLICY}, content_type="text/html; charset=utf-8")


@documents.get("/docs/<name>")
def docs_file(name: str) -> Response:
    """What the page is made of."""
    path = _files().get(name)
    if path is None:
        abort(404)
    return send_file(path)
