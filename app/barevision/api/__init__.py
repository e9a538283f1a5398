"""The HTTP service: one blueprint a dialect, every error as application/problem+json."""

from __future__ import annotations

from flask import Flask

from barevision.api.errors import register_errors
from barevision.api.health import health, readiness
from barevision.api.predict import predict
from barevision.detector import Detector


def create_app(detector: Detector) -> Flask:
    """The WSGI application that answers with `detector`."""
    app = Flask("barevision", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = detector.settings.max_bytes
    # A form's fields are parsed in memory; files are spooled to disk and count only against the limit above.
    app.config["MAX_FORM_PARTS"] = 20
    app.extensions["detector"] = detector
    app.extensions["readiness"] = readiness(detector)
    app.json.sort_keys = False
    app.json.compact = True
    app.register_blueprint(predict)
    app.register_blueprint(health)
    register_errors(app)
    return app
