"""What is said of each request: headers, the log, metrics; and what the service says of itself."""

from __future__ import annotations

import io
import json
import logging
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from barevision import __version__
from barevision.api import create_app
from barevision.api.admission import SPARE_THREADS, Admission
from barevision.api.status import release_commit
from barevision.detector import Detector, load_detector
from barevision.serving.worker import THREADS
from barevision.settings import load_settings

STAGES = ["wait", "decode", "infer", "select"]


@pytest.fixture
def app(roadsigns: Detector) -> Flask:
    """Its own for each test: it counts."""
    return create_app(roadsigns)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged, at the default level."""
    caplog.set_level(logging.INFO, "barevision")
    return caplog


def timings(header: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"(\w+);dur=([0-9.]+)", header)}


def test_a_prediction_says_where_its_time_went(app: Flask, picture: bytes) -> None:
    client = app.test_client()
    for path, more in {"/predict": [], "/predict?annotate=1": ["draw"], "/v1/vision/detection": []}.items():
        found = timings(client.post(path, data=picture).headers["Server-Timing"])
        assert list(found) == [*STAGES, *more, "total"]
        assert all(found[stage] > 0 for stage in ("infer", *more))
        assert found["total"] >= sum(found[stage] for stage in [*STAGES, *more])
    assert list(timings(client.post("/predict", data=b"no picture").headers["Server-Timing"])) == ["wait", "total"]
    assert list(timings(client.get("/healthz").headers["Server-Timing"])) == ["total"]


def test_times_of_several_pictures_are_added(app: Flask, picture: bytes) -> None:
    parts = {name: (io.BytesIO(picture), name) for name in "abc"}
    response = app.test_client().post("/predict", data=parts)
    assert list(timings(response.headers["Server-Timing"])) == [*STAGES, "total"]
    assert sample(app, "barevision_stage_seconds_count", stage="infer") == 3
    assert sample(app, "barevision_stage_seconds_count", stage="wait") == 1


@pytest.mark.parametrize("given", ["mine-1", "A.b_c-9", "a" * 128])
def test_a_harmless_id_is_kept(app: Flask, given: str) -> None:
    headers = {"X-Request-ID": given}
    for path in ("/healthz", "/nothing", "/v1/nothing", "/v2/nothing"):
        assert app.test_client().get(path, headers=headers).headers.getlist("X-Request-ID") == [given]


@pytest.mark.parametrize("given", ["", " ", "a" * 129, "a b", 'a"', "ä", "a,b", "${x}", "<b>"])
def test_any_other_id_is_replaced(app: Flask, given: str) -> None:
    client = app.test_client()
    environ = {"HTTP_X_REQUEST_ID": given}
    first, second = (client.get("/healthz", environ_overrides=environ).headers["X-Request-ID"] for _ in range(2))
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first != second


def test_a_prediction_has_one_line_in_the_log(
    app: Flask, picture: bytes, log: pytest.LogCaptureFixture, expected: list
) -> None:
    headers = {"X-Request-ID": "mine-1", "X-Forwarded-For": "192.0.2.7"}
    response = app.test_client().post("/predict?confidence=0.5", data=picture, headers=headers)
    (line,) = log.records
    assert (line.request_id, line.client, line.method, line.path) == ("mine-1", "192.0.2.7", "POST", "/predict")
    assert (line.status, line.outcome, line.objects) == (200, "answered", len(expected))
    assert (line.bytes_in, line.bytes_out) == (len(picture), len(response.data))
    assert line.pictures == [[640, 480]]
    assert list(line.stages_ms) == STAGES
    assert line.ms >= sum(line.stages_ms.values()) * 0.99


def test_no_query_and_no_detail_of_it_is_logged(app: Flask, log: pytest.LogCaptureFixture) -> None:
    response = app.test_client().post("/predict?api_key=secret", data=b"x")
    assert "secret" in response.json["detail"]
    (line,) = log.records
    assert "secret" not in repr(vars(line))
    assert (line.status, line.outcome, line.levelname, line.pictures) == (422, "refused", "INFO", [])


def test_the_log_tells_refused_gone_unavailable_and_failed_apart(
    app: Flask, roadsigns: Detector, picture: bytes, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = app.test_client()
    client.post("/predict", data=b"no picture")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.close()
        client.post("/predict", data=picture, environ_overrides={"gunicorn.socket": ours})
    with app.extensions["barevision"].admission.place({THREADS: 1}):
        client.post("/predict", data=picture, environ_overrides={THREADS: 1})
    monkeypatch.setattr(type(roadsigns.engine), "infer", lambda *_: 1 / 0)
    client.post("/predict", data=picture)
    found = [(line.outcome, line.levelname) for line in log.records if hasattr(line, "outcome")]
    assert found == [("refused", "INFO"), ("gone", "INFO"), ("unavailable", "WARNING"), ("failed", "ERROR")]
    assert any(line.exc_info for line in log.records), "why it failed"


_LOGGING = """
import logging, sys
from flask import Flask, g
from barevision.api.metrics import Metrics
from barevision.api.record import Record
from barevision.api.logs import configure_logging
configure_logging(sys.argv[1])
app = Flask("barevision")
logging.getLogger("barevision.api").info("request", extra={"status": 200, "path": 'a"\\n{'})
with app.test_request_context():
    g.record = Record("mine-1", Metrics("roadsigns", "onnxruntime"))
    try:
        1 / 0
    except ZeroDivisionError:
        app.logger.exception("Exception on %s", "/")
logging.getLogger("werkzeug").info("a second line")
logging.getLogger("PIL.TiffImagePlugin").debug("tag: Artist (315) - value: somebody")
"""


def logged(level: str) -> list[dict]:
    done = subprocess.run([sys.executable, "-c", _LOGGING, level], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_log_is_a_json_object_a_line() -> None:
    request, failure = logged("info")
    assert (request["level"], request["logger"], request["message"]) == ("INFO", "barevision.api", "request")
    assert (request["status"], request["path"]) == (200, 'a"\n{')
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", request["time"])
    assert (failure["level"], failure["request_id"]) == ("ERROR", "mine-1")
    assert "ZeroDivisionError" in failure["exc_info"]


def test_the_level_is_a_setting_and_no_level_logs_pictures() -> None:
    assert [line["logger"] for line in logged("debug")] == ["barevision.api", "barevision"]
    assert [line["level"] for line in logged("warning")] == ["ERROR"]


def sample(app: Flask, name: str, /, **labels: str) -> float | None:
    text = app.test_client().get("/metrics").text
    for family in text_string_to_metric_families(text):
        for found in family.samples:
            if found.name == name and found.labels == labels:
                return found.value
    return None


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


def test_stages_queue_and_refusals_are_counted(
    app: Flask, roadsigns: Detector, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen from within a prediction, and while another waits."""
    client, seen = app.test_client(), []
    infer = type(roadsigns.engine).infer

    def look(*arguments: object) -> object:
        seen.append([sample(app, f"barevision_{name}") for name in ("in_flight", "waiting")])
        return infer(*arguments)

    monkeypatch.setattr(type(roadsigns.engine), "infer", look)
    assert client.post("/predict", data=picture).status_code == 200
    assert seen == [[1, 0]]
    assert [sample(app, f"barevision_{name}") for name in ("in_flight", "waiting")] == [0, 0]
    for stage in STAGES:
        assert sample(app, "barevision_stage_seconds_count", stage=stage) == 1
    with app.extensions["barevision"].admission.place({THREADS: 1}):
        assert client.post("/predict", data=picture, environ_overrides={THREADS: 1}).status_code == 503
    assert sample(app, "barevision_refused_total") == 1
    assert [sample(app, f"barevision_{name}") for name in ("in_flight", "waiting")] == [0, 0]


def test_who_waits_for_a_turn_is_counted(roadsigns: Detector, picture: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = replace(roadsigns, settings=roadsigns.settings.model_copy(update={"queue_seconds": 0.01}))
    app, waiting, turn = create_app(detector), [], Admission.turn

    def count(self: Admission) -> object:
        waiting.append(sample(app, "barevision_waiting"))
        return turn(self)

    with app.extensions["barevision"].admission.turn(), monkeypatch.context() as patch:
        patch.setattr(Admission, "turn", count)
        assert app.test_client().post("/predict", data=picture).status_code == 503
    assert waiting == [1]
    assert sample(app, "barevision_refused_total") == 1
    assert sample(app, "barevision_waiting") == 0


def test_the_model_and_the_process_are_in_the_metrics(app: Flask) -> None:
    assert sample(app, "barevision_model_info", name="roadsigns", engine="onnxruntime") == 1
    assert sample(app, "process_resident_memory_bytes") > 10 * 2**20
    assert app.test_client().get("/metrics").content_type.startswith("text/plain; version=")


def test_what_asks_for_no_prediction_is_answered_while_all_places_are_taken(app: Flask) -> None:
    client, environ = app.test_client(), {THREADS: SPARE_THREADS + 1}
    paths = (
        "/healthz",
        "/readyz",
        "/metrics",
        "/info",
        "/docs",
        "/openapi.json",
        "/v1/status/ping",
        "/v2/health/ready",
    )
    admission = app.extensions["barevision"].admission
    with admission.turn(), admission.place(environ):
        assert client.post("/predict", data=b"x", environ_overrides=environ).status_code == 503
        for path in paths:
            assert client.get(path, environ_overrides=environ).status_code == 200, path


def test_the_service_says_what_it_is(client: FlaskClient, roadsigns: Detector) -> None:
    found = client.get("/info", environ_overrides={THREADS: 8}).json
    assert found["version"] == __version__
    assert found["model"] == {"name": "roadsigns", "labels": roadsigns.model.labels, "input_size": [320, 320]}
    assert found["engine"] == {"name": "onnxruntime", "precision": "float32", "threads": roadsigns.settings.threads}
    assert found["limits"]["max_pixels"] == roadsigns.settings.max_pixels
    assert found["limits"]["places"] == 8 - SPARE_THREADS
    assert found["defaults"] == {"confidence": 0.5, "nms": 0.3}
    assert str(roadsigns.settings.models_dir) not in json.dumps(found)


def test_the_engine_is_the_one_in_effect(roadsigns: Detector) -> None:
    settings = load_settings(models_dir=roadsigns.settings.models_dir, engine="opencv")
    app = create_app(load_detector(settings))
    engine = app.test_client().get("/info").json["engine"]
    assert (engine["name"], engine["precision"]) == ("opencv", "float32")
    assert sample(app, "barevision_model_info", name="roadsigns", engine="opencv") == 1


def test_a_release_knows_its_commit_by_its_folder(tmp_path: Path) -> None:
    commit = "0123456789abcdef" * 2 + "01234567"
    file = tmp_path / "releases" / commit / "app" / "barevision" / "api" / "info.py"
    file.parent.mkdir(parents=True)
    file.touch()
    (tmp_path / "current").symlink_to(f"releases/{commit}")
    assert release_commit(tmp_path / "current" / "app" / "barevision" / "api" / "info.py") == commit
    assert release_commit(tmp_path / "elsewhere" / "app" / "info.py") is None


def test_the_documents_page_takes_nothing_from_elsewhere(client: FlaskClient) -> None:
    page = client.get("/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in page.text.replace("HTTP", "")
    for name in re.findall(r'(?:href|src)="([^"]+)"', page.text):
        with client.get(f"/{name}") as response:
            assert response.status_code == 200
            assert len(response.data) > 100
    for name in ("../openapi.json", "nothing.js", "index.html", "%2e%2e%2f__init__.py"):
        assert client.get(f"/docs/{name}").status_code == 404, name
