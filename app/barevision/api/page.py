"""``GET /``: the page to try the model on, from the files in ``barevision/web/``."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flask import Blueprint, Response, abort, render_template, request

from barevision import web
from barevision.api.service import current_service

_FOLDER = Path(web.__file__).parent
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_YEAR = 365 * 24 * 3600

#: What a page of this service may load: nothing from elsewhere, nothing inline. Where its pictures are, it says itself.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    # No string becomes markup, either.
    "Content-Security-Policy": (
        f"{CONTENT_POLICY}; img-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
}

bp = Blueprint("page", __name__, template_folder=str(_FOLDER))


_FILES = {path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}
# The version is in the files' addresses: a browser may keep them for good, and never mixes two releases.
_VERSION = hashlib.sha256(b"".join(_FILES.values())).hexdigest()[:12]


@bp.after_request
def _guard(response: Response) -> Response:
    response.headers.update(_HEADERS)
    return response


@bp.get("/")
def index() -> Response:
    """The page, with what the model knows and the service allows."""
    detector = current_service().detector
    text = render_template(
        "index.html",
        folder=f"web/{_VERSION}",
        scripts=sorted(name for name in _FILES if name.endswith(".js")),
        model=detector.model,
        settings=detector.settings,
    )
    return _cached(Response(text, content_type="text/html; charset=utf-8"))


@bp.get("/web/<version>/<name>")
def file(version: str, name: str) -> Response:
    """One of the files that the page is made of; whatever another release's page asks for is this release's."""
    if name not in _FILES:
        abort(404)
    response = Response(_FILES[name], content_type=f"{_TYPES[Path(name).suffix]}; charset=utf-8")
    if version != _VERSION:
        return _cached(response)
    response.cache_control.public = response.cache_control.immutable = True
    response.cache_control.max_age = _YEAR
    return response


@bp.get("/sample.jpg")
def sample() -> Response:
    """The model's golden image."""
    golden = current_service().detector.model.golden
    if golden is None:
        abort(404, "the model has no golden image")
    return _cached(Response(golden.picture, content_type="image/jpeg"))


def _cached(response: Response) -> Response:
    """`response`, to be asked for anew each time, and answered 304 while it is the same."""
    response.cache_control.no_cache = True
    response.add_etag()
    return response.make_conditional(request)
