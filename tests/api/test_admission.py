"""Places and turns: who is predicted, who waits, and who is told to come back."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

import cv2
import pytest
from flask import Flask
from flask.testing import FlaskClient

from barevision.api import create_app
from barevision.api.admission import SPARE_THREADS, Admission, places
from barevision.detector import Detector
from barevision.errors import BusyError
from barevision.serving.worker import THREADS
from tests.support.problems import assert_problem
from tests.support.waiting import wait_until


def test_places_are_what_the_threads_leave() -> None:
    assert [places(threads) for threads in (1, SPARE_THREADS, SPARE_THREADS + 1, SPARE_THREADS + 6)] == [1, 1, 1, 6]


def test_a_place_is_given_back_whatever_happens() -> None:
    admission, environ = Admission(1, 1), {THREADS: SPARE_THREADS + 1}
    with admission.place(environ), pytest.raises(BusyError, match="all 1 places are taken"):
        admission.place(environ).__enter__()
    with pytest.raises(ZeroDivisionError), admission.place(environ):
        _ = 1 / 0
    with admission.place(environ):
        pass


_FROM_NGINX = {"REMOTE_ADDR": "", "HTTP_X_FORWARDED_FOR": "127.0.0.1"}


@pytest.mark.parametrize(
    ("sender", "is_own"),
    [
        (_FROM_NGINX, True),
        (_FROM_NGINX | {"HTTP_X_FORWARDED_FOR": "::1"}, True),
        (_FROM_NGINX | {"HTTP_X_FORWARDED_FOR": "192.0.2.7"}, False),
        (_FROM_NGINX | {"HTTP_X_FORWARDED_FOR": "192.0.2.7, 127.0.0.1"}, False),
        # The service without NGINX, where every client says of itself what it likes.
        (_FROM_NGINX | {"REMOTE_ADDR": "192.0.2.7"}, False),
        (_FROM_NGINX | {"REMOTE_ADDR": "127.0.0.1"}, False),
        ({"REMOTE_ADDR": ""}, False),
        ({}, False),
    ],
)
def test_the_machine_itself_has_one_more_place_and_nobody_else(sender: dict[str, str], is_own: bool) -> None:
    admission, environ = Admission(1, 1), {THREADS: SPARE_THREADS + 1}
    with admission.place(environ), contextlib.ExitStack() as stack:
        if is_own:
            stack.enter_context(admission.place(environ | sender))
        with pytest.raises(BusyError):
            admission.place(environ | sender).__enter__()
        with pytest.raises(BusyError):
            admission.place(environ).__enter__()


def test_a_server_that_does_not_say_its_threads_has_places_without_limit() -> None:
    admission = Admission(1, 1)
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(admission.place({}))


def test_turns_are_as_many_as_were_said_and_are_given_back_whatever_happens() -> None:
    admission = Admission(2, 0.01)
    with pytest.raises(ZeroDivisionError), admission.turn():
        _ = 1 / 0
    for _ in range(2):
        with admission.turn(), admission.turn(), pytest.raises(BusyError, match=r"no turn within 0\.01 seconds"):
            admission.turn().__enter__()


def test_who_waits_has_the_turn_once_it_is_given_back() -> None:
    admission, had = Admission(1, 60), []

    def wait() -> None:
        with admission.turn():
            had.append("second")

    waiting = threading.Thread(target=wait)
    with admission.turn():
        waiting.start()
        had.append("first")
    waiting.join()
    assert had == ["first", "second"]


def test_whoever_gives_way_waits_behind_those_that_wait() -> None:
    admission, had = Admission(1, 60), []

    def other(name: str) -> None:
        with admission.turn():
            had.append(name)

    threads = [threading.Thread(target=other, args=(name,)) for name in ("second", "third")]
    with admission.turn() as give_way:
        for number, thread in enumerate(threads, 1):
            thread.start()
            wait_until(lambda waiting=number: len(admission._waiting) == waiting, "it waits for a turn")
        had.append("first")
        give_way()
        had.append("first again")
    for thread in threads:
        thread.join()
    assert had == ["first", "second", "third", "first again"]


def test_a_turn_that_did_not_come_back_is_not_given_back_twice() -> None:
    admission, gave_way, end = Admission(1, 0.05), threading.Event(), threading.Event()

    def other() -> None:
        with contextlib.suppress(BusyError), Admission.turn(admission):
            gave_way.set()
            end.wait()

    with admission.turn() as give_way:
        thread = threading.Thread(target=other)
        thread.start()
        wait_until(lambda: admission._waiting, "it waits for a turn")
        for _ in range(2):
            with pytest.raises(BusyError, match="no turn within"):
                give_way()
        assert gave_way.is_set()
    end.set()
    thread.join()
    with admission.turn(), pytest.raises(BusyError):
        admission.turn().__enter__()


def test_no_turn_in_time_is_503_with_retry_after(
    roadsigns: Detector, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = replace(roadsigns, settings=roadsigns.settings.model_copy(update={"queue_seconds": 0.05}))
    app = create_app(detector)
    client = app.test_client()
    with app.extensions["barevision"].admission.turn(), monkeypatch.context() as patch:
        patch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
        response = client.post("/predict", data=picture)
    assert_problem(response, 503)
    assert response.headers["Retry-After"] == "1"
    assert client.post("/predict", data=picture).status_code == 200


def test_more_requests_than_places_are_refused_at_once_and_health_is_still_answered(app: Flask, picture: bytes) -> None:
    client, environ = app.test_client(), {THREADS: SPARE_THREADS + 2}
    admission = app.extensions["barevision"].admission
    with admission.turn(), admission.place(environ), admission.place(environ):
        response = client.post("/predict", data=picture, environ_overrides=environ)
        assert "all 2 places are taken" in assert_problem(response, 503)["detail"]
        assert response.headers["Retry-After"] == "1"
        assert client.get("/readyz", environ_overrides=environ).status_code == 200
    assert client.post("/predict", data=picture, environ_overrides=environ).status_code == 200


def test_what_was_refused_gives_its_place_back(client: FlaskClient, picture: bytes) -> None:
    environ = {THREADS: 1}
    assert client.post("/predict", data=b"no picture", environ_overrides=environ).status_code == 400
    assert client.post("/predict", data=picture, environ_overrides=environ).status_code == 200


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
