"""What may be asked beside the picture, and what is refused."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from tests.support.problems import assert_problem


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("confidence=2", "confidence='2'"),
        ("limit=0", "limit='0'"),
        ("limit=1.5", "limit='1.5'"),
        ("limit=" + "9" * 5000, "limit='999"),
        ("per_class_nms=maybe", "per_class_nms='maybe'"),
        ("annotate=2", "annotate='2'"),
        ("classes=", "labels with commas"),
        ("classes=stop,,no entry", "labels with commas"),
        ("classes=dog,stop", "no class dog; it has stop, give way"),
        ("confidence=nan", "confidence='nan'"),
        ("confidance=0.2", "parameters are confidence, nms"),
        ("nms=0.2&nms=x", "nms is given 2 times"),
    ],
)
def test_wrong_parameters_are_refused_by_name(client: FlaskClient, query: str, words: str) -> None:
    response = client.post("/predict", query_string=query, data=b"x")
    assert words in assert_problem(response, 422)["detail"]
