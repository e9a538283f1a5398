"""What a Prometheus server collects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flask import Flask

from barevision import __version__
from barevision.api import create_app
from barevision.api.admission import Admission, Ticket
from barevision.detector import Detector
from barevision.engines.processor import this_processor
from tests.support.admission import all_turns_taken, refused
from tests.support.engines import FakeEngine
from tests.support.metrics import sample


def test_requests_are_counted_under_names_that_clients_cannot_multiply(app: Flask, picture: bytes) -> None:
    client = app.test_client()
    client.post("/predict", data=picture)
    client.post("/predict", data=b"no picture")
    for number in range(5):
        client.get(f"/v2/models/{number}")
        client.get(f"/nothing/{number}")
        client.open("/healthz", method=f"M{number}")
    assert sample(app, "barevision_requests_total", method="POST", path="/predict", status="200") == 1
    assert sample(app, "barevision_requests_total", method="POST", path="/predict", status="400") == 1
    assert sample(app, "barevision_requests_total", method="GET", path="/v2/models/<name>", status="404") == 5
    assert sample(app, "barevision_requests_total", method="GET", path="other", status="404") == 5
    assert sample(app, "barevision_requests_total", method="other", path="other", status="405") == 5


def test_objects_are_counted_by_labels_of_which_there_are_not_too_many(app: Flask, picture: bytes) -> None:
    found = [detection["label"] for detection in app.test_client().post("/predict", data=picture).json]
    assert sample(app, "barevision_objects_total", label=found[0]) == found.count(found[0]) > 0
    metrics = app.extensions["barevision"].metrics
    metrics.count_objects(f"kind {number}" for number in range(150))
    metrics.count_objects(["kind 1", "kind 149"])
    assert sample(app, "barevision_objects_total", label="kind 1") == 2
    assert sample(app, "barevision_objects_total", label="other") >= 51


def test_the_code_that_runs_is_named(app: Flask) -> None:
    assert sample(app, "barevision_build_info", version=__version__, commit="") == 1


def test_stages_queue_and_refusals_are_counted(app: Flask, engine: FakeEngine, picture: bytes) -> None:
    """Seen from within a prediction, and while another waits."""
    client, seen = app.test_client(), []
    infer = engine.infer

    def look(blob: np.ndarray) -> np.ndarray:
        seen.append([sample(app, f"barevision_{name}") for name in ("in_flight", "waiting")])
        return infer(blob)

    engine.infer = look
    assert client.post("/predict", data=picture).status_code == 200
    assert seen == [[1, 0]]
    assert [sample(app, f"barevision_{name}") for name in ("in_flight", "waiting")] == [0, 0]
    for stage in ("wait", "decode", "infer", "select"):
        assert sample(app, "barevision_stage_seconds_count", stage=stage) == 1
    assert client.post("/predict", data=picture, environ_overrides=refused(12)).status_code == 503
    assert sample(app, "barevision_refused_total") == 1
    assert [sample(app, f"barevision_{name}") for name in ("in_flight", "waiting")] == [0, 0]


def test_who_waits_for_a_turn_is_counted(roadsigns: Detector, picture: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = replace(roadsigns, settings=roadsigns.settings.model_copy(update={"max_wait": 0.05}))
    app, waiting, turn = create_app(detector), [], Admission.turn

    def count(self: Admission, ticket: Ticket) -> object:
        waiting.append(sample(app, "barevision_waiting"))
        return turn(self, ticket)

    with all_turns_taken(app), monkeypatch.context() as patch:
        patch.setattr(Admission, "turn", count)
        assert app.test_client().post("/predict", data=picture).status_code == 503
    assert waiting == [1]
    assert sample(app, "barevision_refused_total") == 1
    assert sample(app, "barevision_waiting") == 0


def test_the_model_and_the_process_are_in_the_metrics(app: Flask) -> None:
    plan = app.extensions["barevision"].detector.engine.plan
    cores = {"streams": str(plan.streams), "threads": str(plan.threads)}
    labels = {"name": "roadsigns", "engine": "onnxruntime", "precision": "f32", **cores}
    labels["processor"] = this_processor().name
    assert sample(app, "barevision_model_info", **labels) == 1
    assert sample(app, "process_resident_memory_bytes") > 10 * 2**20
    assert app.test_client().get("/metrics").content_type.startswith("text/plain; version=")
