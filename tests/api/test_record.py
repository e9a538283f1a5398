"""What is said of each request: headers, and a line in the log."""

from __future__ import annotations

import io
import logging
import re
import socket

import pytest
from flask import Flask

from tests.support.admission import refused
from tests.support.engines import FakeEngine
from tests.support.metrics import sample

STAGES = ["wait", "decode", "infer", "select"]


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
    # Each has a turn of its own.
    assert sample(app, "barevision_stage_seconds_count", stage="wait") == 3


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
    app: Flask, engine: FakeEngine, picture: bytes, log: pytest.LogCaptureFixture
) -> None:
    client = app.test_client()
    client.post("/predict", data=b"no picture")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.close()
        client.post("/predict", data=picture, environ_overrides={"gunicorn.socket": ours})
    client.post("/predict", data=picture, environ_overrides=refused(12))
    engine.infer = lambda blob: 1 / 0
    client.post("/predict", data=picture)
    found = [(line.outcome, line.levelname) for line in log.records if hasattr(line, "outcome")]
    assert found == [("refused", "INFO"), ("gone", "INFO"), ("unavailable", "WARNING"), ("failed", "ERROR")]
    assert any(line.exc_info for line in log.records), "why it failed"
