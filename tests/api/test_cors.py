"""What pages of other sites may do. tests/browser/test_cors.py has a browser try it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from barevision.api import create_app
from barevision.detector import Detector
from tests.support.admission import refused

_OURS, _OTHER = "https://app.example.com", "https://other.example.com"
_PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-request-id"}


def make_client(roadsigns: Detector, *origins: str) -> FlaskClient:
    settings = roadsigns.settings.model_copy(update={"cors_origins": origins})
    return create_app(replace(roadsigns, settings=settings)).test_client()


def cors(response: TestResponse) -> dict[str, str]:
    """The headers of `response` that are about other sites."""
    return {name: value for name, value in response.headers if name == "Vary" or name.startswith("Access-Control-")}


def test_without_the_setting_no_other_site_may_read_anything(client: FlaskClient, picture: bytes) -> None:
    for origin in (_OURS, "null"):
        assert cors(client.post("/predict", data=picture, headers={"Origin": origin})) == {}
        assert cors(client.options("/predict", headers={"Origin": origin, **_PREFLIGHT})) == {}


def test_a_page_of_an_allowed_origin_may_ask_and_read(roadsigns: Detector, picture: bytes) -> None:
    client = make_client(roadsigns, "https://first.example.com", _OURS)
    expected = {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": _OURS,
        "Access-Control-Expose-Headers": "X-Request-ID, Server-Timing, Retry-After",
    }
    response = client.post("/predict", data=picture, headers={"Origin": _OURS})
    assert (response.status_code, cors(response)) == (200, expected)
    assert cors(client.options("/predict", headers={"Origin": _OURS, **_PREFLIGHT})) == {
        **expected,
        "Access-Control-Allow-Methods": "OPTIONS, POST",
        "Access-Control-Allow-Headers": "content-type,x-request-id",
        "Access-Control-Max-Age": "7200",
    }


@pytest.mark.parametrize("headers", [{"Origin": _OTHER}, {"Origin": "null"}, {"Origin": _OURS + ".evil.example"}, {}])
def test_another_may_not_and_caches_know_the_difference(roadsigns: Detector, picture: bytes, headers: dict) -> None:
    client = make_client(roadsigns, _OURS)
    assert cors(client.post("/predict", data=picture, headers=headers)) == {"Vary": "Origin"}
    assert cors(client.options("/predict", headers={**headers, **_PREFLIGHT})) == {"Vary": "Origin"}


def test_all_may_if_all_are_allowed(roadsigns: Detector, picture: bytes) -> None:
    client = make_client(roadsigns, "*")
    for headers in ({"Origin": _OTHER}, {}):
        found = cors(client.post("/predict", data=picture, headers=headers))
        assert found["Access-Control-Allow-Origin"] == "*"
        assert "Vary" not in found


def test_refusals_and_faults_can_be_read_too(
    roadsigns: Detector, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(roadsigns, _OURS)
    asked = {"headers": {"Origin": _OURS}}
    responses = [
        client.post("/predict", data=picture, **asked, environ_overrides=refused(12)),
        client.post("/predict", data=b"no picture", **asked),
        client.post("/predict?confidance=1", data=picture, **asked),
        client.post("/predict", data=bytes(21 * 2**20), **asked),
        client.get("/predict", **asked),
        client.get("/nothing", **asked),
        client.post("/v1/vision/detection", data=b"x", **asked),
    ]
    monkeypatch.setattr(type(roadsigns), "answer", lambda *_: 1 / 0)
    responses.append(client.post("/predict", data=picture, **asked))
    assert [response.status_code for response in responses] == [503, 400, 422, 413, 405, 404, 400, 500]
    assert {cors(response).get("Access-Control-Allow-Origin") for response in responses} == {_OURS}
