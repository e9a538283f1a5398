"""The HTTP service: one blueprint a dialect, every error as application/problem+json."""

from __future__ import annotations

from flask import Flask

from barevision.api.admission import Door
from barevision.api.errors import register_errors
from barevision.api.health import health, readiness
from barevision.api.page import page
from barevision.api.predict import predict
from barevision.detector import Detector


def create_app(detector: Detector) -> Flask:
    """The WSGI application that answers with `detector`."""
    app = Flask("barevision", static_folder=None)
    # One byte more than allowed: what comes without a Content-Length is cut off there, and would pass for complete.
    app.config["MAX_CONTENT_LENGTH"] = detector.settings.max_bytes + 1
    # A form's fields stay in memory, its files are spooled to disk. No limit of their own: the error would be another.
    app.config["MAX_FORM_MEMORY_SIZE"] = app.config["MAX_CONTENT_LENGTH"]
    app.config["MAX_FORM_PARTS"] = 20
    app.extensions["detector"] = detector
    app.extensions["door"] = Door()
    app.extensions["readiness"] = readiness(detector)
    app.json.sort_keys = False
    app.json.compact = True
    app.register_blueprint(predict)
    app.register_blueprint(health)
    app.register_blueprint(page)
    register_errors(app)
    return app
