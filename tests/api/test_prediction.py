"""From a request to what is on its picture."""

from __future__ import annotations

import json
import socket
import threading

import cv2
import numpy as np
import pytest
from flask import Flask

from barevision.api import create_app
from barevision.detector import Detector, load_detector
from barevision.objects import differences
from barevision.pictures.decode import encode_image
from barevision.settings import load_settings
from tests.support.answers import detections
from tests.support.engines import FakeEngine
from tests.support.problems import assert_problem


def test_a_picture_is_not_predicted_for_a_client_that_is_gone(app: Flask, engine: FakeEngine, picture: bytes) -> None:
    client = app.test_client()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        environ = {"gunicorn.socket": ours}
        assert client.post("/predict", data=picture, environ_overrides=environ).status_code == 200
        theirs.close()
        engine.infer = lambda blob: pytest.fail("predicted")
        assert client.post("/predict", data=picture, environ_overrides=environ).status_code == 400


@pytest.mark.parametrize("engine", ["onnxruntime", "opencv"])
def test_threads_never_get_each_others_boxes(roadsigns: Detector, picture: bytes, engine: str) -> None:
    settings = load_settings(models_dir=roadsigns.settings.models_dir, engine=engine)
    app = create_app(load_detector(settings))
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    pictures = [
        encode_image(np.ascontiguousarray(np.roll(image, shift, axis=1)), ".png") for shift in (0, 90, 200, 330)
    ]
    alone = [app.test_client().post("/predict", data=data).json for data in pictures]
    assert len({json.dumps(answer) for answer in alone}) == 4
    wrong = []

    def ask(number: int) -> None:
        for _ in range(15):
            answer = app.test_client().post("/predict", data=pictures[number]).json
            wrong.extend(differences(detections(alone[number]), detections(answer), pixels=1, confidence=1e-3))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_network_that_answers_nan_is_a_fault_and_not_an_empty_list(
    app: Flask, engine: FakeEngine, picture: bytes
) -> None:
    engine.infer = lambda blob: np.full((10, 10), np.nan, np.float32)
    assert_problem(app.test_client().post("/predict", data=picture), 500)
