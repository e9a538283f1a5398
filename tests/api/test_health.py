"""Liveness and readiness."""

from __future__ import annotations

from dataclasses import replace

from barevision.api import create_app
from barevision.detector import Detector


def test_the_process_lives(roadsigns: Detector) -> None:
    assert create_app(roadsigns).test_client().get("/healthz").json == {"status": "ok"}


def test_ready_after_the_right_answer(roadsigns: Detector) -> None:
    response = create_app(roadsigns).test_client().get("/readyz")
    assert response.status_code == 200
    assert response.json["model"] == "roadsigns"
    assert "boxes were found" in response.json["detail"]


def test_not_ready_after_a_wrong_answer(roadsigns: Detector) -> None:
    golden = roadsigns.model.golden
    wrong = replace(golden, expected=[replace(golden.expected[0], label="elephant"), *golden.expected[1:]])
    client = create_app(replace(roadsigns, model=replace(roadsigns.model, golden=wrong))).test_client()
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.content_type == "application/problem+json"
    assert "missing: elephant" in response.json["detail"]
    assert client.get("/healthz").status_code == 200
