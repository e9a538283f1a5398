"""Errors in words, in the form of problem documents."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.engines import FakeEngine
from tests.support.problems import assert_problem


def test_other_paths_and_methods(client: FlaskClient) -> None:
    problem = assert_problem(client.get("/nothing"), 404)
    assert problem["detail"] == "there is nothing at '/nothing'; /docs shows what there is"
    response = client.get("/predict")
    problem = assert_problem(response, 405)
    assert "POST" in response.headers["Allow"]
    assert problem["detail"] == "'/predict' does not allow GET; allowed: POST, OPTIONS"


@pytest.mark.parametrize(
    "path", ["//predict", "///predict", "//", "//v1/vision/detection", "/v1//vision/detection", "/predict/"]
)
def test_a_path_with_more_slashes_is_another(client: FlaskClient, picture: bytes, path: str) -> None:
    # The test client takes //predict for a host.
    response = client.post("/", data=picture, environ_overrides={"PATH_INFO": path})
    assert response.status_code == 404
    assert f"there is nothing at '{path}'" in response.text


def test_a_fault_of_ours_is_a_500_that_tells_nothing(app: Flask, engine: FakeEngine, picture: bytes) -> None:
    engine.infer = lambda blob: 1 / 0
    response = app.test_client().post("/predict", data=picture)
    assert_problem(response, 500)
    assert "division" not in response.text
