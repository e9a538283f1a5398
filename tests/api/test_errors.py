"""Errors in words, in the form of problem documents."""

from __future__ import annotations

from flask import Flask
from flask.testing import FlaskClient

from tests.support.engines import FakeEngine
from tests.support.problems import assert_problem


def test_other_paths_and_methods(client: FlaskClient) -> None:
    problem = assert_problem(client.get("/nothing"), 404)
    assert problem["detail"] == "there is nothing at '/nothing'; /docs shows what there is"
    assert_problem(client.post("//predict", data=b"x"), 404)
    response = client.get("/predict")
    problem = assert_problem(response, 405)
    assert "POST" in response.headers["Allow"]
    assert problem["detail"] == "'/predict' does not allow GET; allowed: POST, OPTIONS"


def test_a_fault_of_ours_is_a_500_that_tells_nothing(app: Flask, engine: FakeEngine, picture: bytes) -> None:
    engine.infer = lambda blob: 1 / 0
    response = app.test_client().post("/predict", data=picture)
    assert_problem(response, 500)
    assert "division" not in response.text
