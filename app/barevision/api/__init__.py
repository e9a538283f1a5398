"""The HTTP service: one blueprint a dialect, every error in its dialect's form, else as application/problem+json."""

from __future__ import annotations

from flask import Flask, abort, request

from barevision.api import documents, page, status
from barevision.api.cors import register_cors
from barevision.api.dialects import deepstack, open_inference, predict
from barevision.api.errors import register_errors
from barevision.api.keys import register_keys
from barevision.api.record import register_record
from barevision.api.service import make_service
from barevision.detector import Detector
from barevision.processes import Process

BLUEPRINTS = (predict.bp, deepstack.bp, open_inference.bp, page.bp, status.bp, documents.bp)


def create_app(detector: Detector, process: Process | None = None) -> Flask:
    """The WSGI application that answers with `detector`.

    :param process: which one of its service's this is; None if it is the only one.
    """
    app = Flask("barevision", static_folder=None)
    # One byte more than allowed: what comes without a Content-Length is cut off there, and would pass for complete.
    app.config["MAX_CONTENT_LENGTH"] = detector.settings.max_bytes + 1
    # A redirect from /v1//vision to /v1/vision would lose the picture: it is answered 404.
    app.url_map.merge_slashes = False
    app.json.sort_keys = False
    app.json.compact = True
    app.extensions["barevision"] = make_service(detector, process)
    register_record(app)
    register_cors(app, detector.settings.cors_origins)
    app.before_request(_refuse_slashes)
    register_keys(app, detector.settings.keys_file)
    for bp in BLUEPRINTS:
        app.register_blueprint(bp)
    register_errors(app, {"/v1": deepstack.error_response, "/v2": open_inference.error_response})
    return app


def _refuse_slashes() -> None:
    # Werkzeug takes //predict for /predict. NGINX's rules for a path, as that for /metrics, must not be passed by so.
    if request.environ["PATH_INFO"].startswith("//"):
        abort(404)
