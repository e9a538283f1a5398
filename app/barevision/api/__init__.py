"""The HTTP service: one blueprint a dialect, every error in its dialect's form, else as application/problem+json."""

from __future__ import annotations

from flask import Flask

from barevision.api.admission import Door
from barevision.api.dialects.deepstack import deepstack, deepstack_error
from barevision.api.dialects.open_inference import open_inference, open_inference_error
from barevision.api.dialects.predict import predict
from barevision.api.documents import documents
from barevision.api.errors import register_errors
from barevision.api.health import health, readiness
from barevision.api.info import info
from barevision.api.metrics import Metrics, metrics
from barevision.api.page import page
from barevision.api.record import register_record
from barevision.api.service import Service
from barevision.detector import Detector

BLUEPRINTS = (predict, deepstack, open_inference, page, health, info, metrics, documents)


def create_app(detector: Detector) -> Flask:
    """The WSGI application that answers with `detector`."""
    app = Flask("barevision", static_folder=None)
    # One byte more than allowed: what comes without a Content-Length is cut off there, and would pass for complete.
    app.config["MAX_CONTENT_LENGTH"] = detector.settings.max_bytes + 1
    # A form's fields stay in memory, its files are spooled to disk. No limit of their own: the error would be another.
    app.config["MAX_FORM_MEMORY_SIZE"] = app.config["MAX_CONTENT_LENGTH"]
    app.config["MAX_FORM_PARTS"] = 20
    # //predict is no path of ours; a redirect would lose the picture.
    app.url_map.merge_slashes = False
    app.extensions["barevision"] = Service(detector, Door(), Metrics(detector), readiness(detector))
    app.json.sort_keys = False
    app.json.compact = True
    register_record(app)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    register_errors(app, {"/v1": deepstack_error, "/v2": open_inference_error})
    return app
