"""What the service says of itself: whether it lives, is ready, and what it serves."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from flask.testing import FlaskClient

from barevision import __version__
from barevision.api import create_app
from barevision.detector import Detector, load_detector
from barevision.engines.processor import this_processor
from barevision.errors import EngineError
from barevision.release import release_commit, release_time
from barevision.settings import load_settings
from tests.support.engines import FakeEngine
from tests.support.metrics import sample
from tests.support.problems import assert_problem


def test_the_process_lives(client: FlaskClient) -> None:
    assert client.get("/healthz").json == {"status": "ok"}


def test_ready_after_the_right_answer(client: FlaskClient) -> None:
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json["model"] == "roadsigns"
    assert "boxes were found" in response.json["detail"]


def test_not_ready_after_a_wrong_answer(roadsigns: Detector) -> None:
    golden = roadsigns.model.golden
    wrong = replace(golden, expected=[replace(golden.expected[0], label="elephant"), *golden.expected[1:]])
    client = create_app(replace(roadsigns, model=replace(roadsigns.model, golden=wrong))).test_client()
    assert "missing: elephant" in assert_problem(client.get("/readyz"), 503)["detail"]
    assert client.get("/healthz").status_code == 200


def test_a_network_that_does_not_run_makes_the_service_not_ready(roadsigns: Detector) -> None:
    engine = FakeEngine.like(roadsigns.engine)

    def fail(blob: np.ndarray) -> np.ndarray:
        raise EngineError("OpenCV can't run the network: no such layer")

    engine.infer = fail
    client = create_app(replace(roadsigns, engine=engine)).test_client()
    assert "no such layer" in assert_problem(client.get("/readyz"), 503)["detail"]
    assert client.get("/healthz").status_code == 200


def test_the_service_says_what_it_is(client: FlaskClient, roadsigns: Detector) -> None:
    found = client.get("/info").json
    assert found["version"] == __version__
    assert found["model"] == {"name": "roadsigns", "labels": roadsigns.model.labels, "input_size": [320, 320]}
    cores = roadsigns.settings.threads
    streams = {"streams": 1, "processes": 1, "threads": cores, "lone_threads": cores}
    assert found["engine"] == {"name": "onnxruntime", "precision": "f32", **streams}
    assert found["limits"]["max_pixels"] == roadsigns.settings.max_pixels
    assert found["limits"]["max_wait"] == roadsigns.settings.max_wait
    assert found["defaults"] == {"confidence": 0.5, "nms": 0.3}
    assert str(roadsigns.settings.models_dir) not in json.dumps(found)


def test_the_engine_is_the_one_in_effect(roadsigns: Detector) -> None:
    settings = load_settings(models_dir=roadsigns.settings.models_dir, engine="opencv")
    app = create_app(load_detector(settings))
    engine = app.test_client().get("/info").json["engine"]
    assert (engine["name"], engine["precision"]) == ("opencv", "f32")
    labels = {"name": "roadsigns", "engine": "opencv", "precision": "f32", "streams": "1", "threads": "1"}
    labels["processor"] = this_processor().name
    assert sample(app, "barevision_model_info", **labels) == 1


def test_a_release_knows_its_commit_by_its_folder(tmp_path: Path) -> None:
    commit = "0123456789abcdef" * 2 + "01234567"
    file = tmp_path / "releases" / commit / "app" / "barevision" / "api" / "info.py"
    file.parent.mkdir(parents=True)
    file.touch()
    (tmp_path / "current").symlink_to(f"releases/{commit}")
    assert release_commit(tmp_path / "current" / "app" / "barevision" / "api" / "info.py") == commit
    assert release_commit(tmp_path / "elsewhere" / "app" / "info.py") is None
    assert release_time(file) is None
    (tmp_path / "releases" / commit / ".complete").touch()
    os.utime(tmp_path / "releases" / commit / ".complete", (7, 7))
    assert release_time(file) == 7
