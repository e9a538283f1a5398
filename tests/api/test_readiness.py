"""Whether the service answers rightly, and lately."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from flask import Flask

from barevision.api import create_app, readiness
from barevision.api.readiness import Readiness
from barevision.detector import Detector
from barevision.errors import EngineError, PictureError, WrongAnswerError
from barevision.processes import Processes
from tests.support.engines import FakeEngine
from tests.support.metrics import sample
from tests.support.problems import assert_problem
from tests.support.waiting import wait_until


class Golden:
    """A check that a test decides."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None

    def __call__(self) -> str:
        self.asked += 1
        if self.error:
            raise self.error
        return "all boxes were found"


@pytest.fixture
def golden() -> Golden:
    return Golden()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass."""
    passed = [0.0]
    clock = SimpleNamespace(time=time.time, monotonic=lambda: time.monotonic() + passed[0])
    monkeypatch.setattr(readiness, "time", clock)

    def wait(seconds: float) -> None:
        passed[0] += seconds

    return wait


def look_for(ready: Readiness, seconds: int, later: Callable[[float], None]) -> bool:
    """Looks each second, as the worker does."""
    for _ in range(seconds):
        later(1)
        if not ready.look():
            return False
    return True


def test_the_golden_image_is_asked_again_where_nothing_succeeds(golden: Golden, later) -> None:
    ready = Readiness(golden, ask_after=15)
    look_for(ready, 14, later)
    assert golden.asked == 1
    golden.error = WrongAnswerError("missing: elephant")
    look_for(ready, 2, later)
    wait_until(lambda: not ready.is_ready, "the wrong answer")
    assert ready.finding == "missing: elephant"
    golden.error = None
    look_for(ready, 16, later)
    wait_until(lambda: ready.is_ready, "the right answer")
    assert ready.finding == "all boxes were found"


def test_a_success_counts_as_much(golden: Golden, later) -> None:
    ready = Readiness(golden, ask_after=15)
    for _ in range(10):
        look_for(ready, 10, later)
        with ready.predicting():
            pass
    assert golden.asked == 1


def test_a_success_does_not_make_up_for_a_wrong_answer(golden: Golden, later) -> None:
    """Of a picture whose objects nobody knows, as all of clients' are."""
    golden.error = EngineError("no such layer")
    ready = Readiness(golden, ask_after=15)
    for _ in range(2):
        look_for(ready, 10, later)
        with ready.predicting():
            pass
    wait_until(lambda: golden.asked == 2, "the golden image")
    assert not ready.is_ready


def test_a_bad_picture_is_no_success(golden: Golden, later) -> None:
    ready = Readiness(golden, ask_after=15)
    before = ready.last_success
    look_for(ready, 10, later)
    with pytest.raises(PictureError), ready.predicting():
        raise PictureError("no picture")
    assert ready.last_success == before
    look_for(ready, 6, later)
    wait_until(lambda: golden.asked == 2, "the golden image")


def test_a_prediction_that_never_ends_is_a_hang(golden: Golden, later) -> None:
    ready = Readiness(golden, ask_after=1000, hung_after=30)
    with ready.predicting():
        assert look_for(ready, 29, later)
        assert ready.is_ready
        assert not look_for(ready, 2, later)
        assert not ready.is_ready
    assert "has been running for 3" in ready.finding


def test_a_golden_image_that_is_never_answered_is_a_hang(golden: Golden, later, monkeypatch) -> None:
    ready = Readiness(golden, ask_after=15, hung_after=30)
    ends = threading.Event()
    monkeypatch.setattr(golden.__class__, "__call__", lambda self: str(ends.wait()))
    try:
        assert look_for(ready, 17, later)
        wait_until(lambda: ready.oldest_seconds > 0, "the prediction")
        assert not look_for(ready, 32, later)
    finally:
        ends.set()


def test_one_after_the_other_is_no_hang(golden: Golden, later) -> None:
    ready = Readiness(golden, ask_after=1000, hung_after=30)
    for _ in range(5):
        with ready.predicting():
            assert look_for(ready, 20, later)


def test_waiting_for_others_pixels_is_no_hang(golden: Golden, later) -> None:
    ready = Readiness(golden, ask_after=1000, hung_after=30)
    with ready.predicting() as running:
        assert look_for(ready, 20, later)
        running.goes_on()
        assert look_for(ready, 20, later)


def test_a_process_that_stood_still_has_no_hang(golden: Golden, later) -> None:
    """As after SIGSTOP, or on a machine that was moved to another host."""
    ready = Readiness(golden, ask_after=1000, hung_after=30)
    with ready.predicting():
        look_for(ready, 20, later)
        later(600)
        assert look_for(ready, 9, later)
        assert not look_for(ready, 3, later)


def test_a_slow_machine_waits_longer(later) -> None:
    def slow() -> str:
        later(4)
        return "right"

    assert Readiness(slow, ask_after=15).hung_after == pytest.approx(80, abs=2)


def test_a_service_that_is_about_to_stop_is_not_ready_and_answers(app: Flask, picture: bytes) -> None:
    app.extensions["barevision"].readiness.is_draining = lambda: True
    client = app.test_client()
    assert assert_problem(client.get("/readyz"), 503)["detail"] == "the service is about to stop"
    assert client.get("/v2/health/ready").status_code == 503
    assert client.post("/predict", data=picture).status_code == 200


def test_clients_and_prometheus_see_a_hang(app: Flask, engine: FakeEngine, picture: bytes, later) -> None:
    ready, infer = app.extensions["barevision"].readiness, engine.infer
    begins, ends = threading.Event(), threading.Event()
    # Whatever the first prediction took here.
    ready.hung_after = 30

    def hang(blob: np.ndarray) -> np.ndarray:
        begins.set()
        ends.wait()
        return infer(blob)

    assert sample(app, "barevision_ready") == 1
    engine.infer = hang
    client = threading.Thread(target=app.test_client().post, args=("/predict",), kwargs={"data": picture})
    client.start()
    try:
        assert begins.wait(60)
        assert not look_for(ready, 32, later)
        assert "has been running" in assert_problem(app.test_client().get("/readyz"), 503)["detail"]
        assert sample(app, "barevision_ready") == 0
        assert sample(app, "barevision_oldest_prediction_seconds") > 30
    finally:
        ends.set()
        client.join()
    wait_until(lambda: sample(app, "barevision_oldest_prediction_seconds") == 0, "the golden image's end")
    assert sample(app, "barevision_last_success_timestamp_seconds") == pytest.approx(time.time(), abs=60)


def test_the_service_is_ready_if_all_of_its_processes_are(golden: Golden, later) -> None:
    processes, other_golden = Processes(), Golden()
    ready = Readiness(golden, 15, process=processes.join())
    other = processes.join()
    # It is only starting.
    assert ready.is_ready
    other_ready = Readiness(other_golden, 15, process=other)
    other.numbers.pid = 1
    assert ready.is_ready
    other_golden.error = WrongAnswerError("missing: elephant")
    look_for(other_ready, 17, later)
    wait_until(lambda: not other_ready.is_ready, "the wrong answer")
    other_ready.look()
    assert not ready.is_ready
    assert ready.finding == "another process of the service is not ready; its log says why"
    assert other_ready.finding == "missing: elephant"
    processes.leave(other)
    assert ready.is_ready


def test_an_engine_that_breaks_is_found_out_without_a_request(roadsigns: Detector, engine: FakeEngine, later) -> None:
    app = create_app(replace(roadsigns, engine=engine))
    rows = engine.infer(np.zeros((1, 3, *engine.input_size), np.float32))
    engine.infer = lambda blob: np.zeros_like(rows)
    look_for(app.extensions["barevision"].readiness, 17, later)
    wait_until(lambda: app.test_client().get("/readyz").status_code == 503, "the wrong answer")
    assert "missing" in app.test_client().get("/readyz").json["detail"]
