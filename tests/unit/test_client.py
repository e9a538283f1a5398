"""The client against a real service, against busy ones, and against servers of something else."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import requests
from flask import Flask, Response, request

from barevision.client import MOST_RETRIES, Client
from barevision.errors import ServiceError
from barevision.models.catalogue import find_source
from barevision.objects import differences
from tests.support.serving import served

GOLDEN = find_source("roadsigns").golden


class Busy:
    """A service that refuses `refusals` requests before it answers; notes what it was sent."""

    def __init__(self, refusals: int, status: int = 503, **headers: str) -> None:
        self.requests: list[tuple[bytes, dict]] = []
        self.app = Flask("busy")
        self.app.add_url_rule("/<path:path>", view_func=self._answer, methods=["GET", "POST"])
        self._refusals, self._status, self._headers = refusals, status, headers

    def _answer(self, path: str) -> Response:
        self.requests.append((request.get_data(), request.args.to_dict()))
        if len(self.requests) > self._refusals:
            return Response("[]", content_type="application/json")
        return Response('{"detail": "try later"}', self._status, self._headers, content_type="application/problem+json")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the client would have waited, in seconds."""
    seconds: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", seconds.append)
    return seconds


def test_bytes_paths_and_open_files_are_predicted(url: str, tmp_path: Path) -> None:
    path = tmp_path / "signs.jpg"
    path.write_bytes(GOLDEN.picture)
    with Client(url) as client:
        found = client.predict(GOLDEN.picture)
        assert differences(GOLDEN.expected, found) == []
        for image in (path, str(path), io.BytesIO(GOLDEN.picture)):
            assert client.predict(image) == found


def test_thresholds_reach_the_service(url: str) -> None:
    assert len(Client(url).predict(GOLDEN.picture, confidence=0.01, nms=0.9)) > len(GOLDEN.expected)


def test_parameters_are_those_of_the_api() -> None:
    busy = Busy(0)
    with served(busy.app) as url:
        Client(url).predict(b"x", confidence=0.25, nms=0, classes=["dog", "stop sign"], limit=3, per_class_nms=True)
        Client(url).predict(b"x")
    given = {"confidence": "0.25", "nms": "0", "classes": "dog,stop sign", "limit": "3", "per_class_nms": "true"}
    assert [query for _, query in busy.requests] == [given, {}]
    with pytest.raises(TypeError, match="unknown parameters min_confidence; there are confidence, nms"):
        Client("http://x").predict(b"x", min_confidence=0.5)


def test_the_annotated_picture_is_the_services_jpeg(url: str) -> None:
    service = requests.post(f"{url}/predict", data=GOLDEN.picture, headers={"Accept": "image/jpeg"}, timeout=30)
    assert service.headers["Content-Type"] == "image/jpeg"
    assert Client(url).annotate(GOLDEN.picture) == service.content


@pytest.mark.parametrize("status", [503, 429])
def test_a_busy_service_is_asked_again_when_it_says(waits: list[float], status: int) -> None:
    busy = Busy(2, status, **{"Retry-After": "3"})
    with served(busy.app) as url:
        assert Client(url).predict(io.BytesIO(b"picture")) == []
    assert waits == [3, 3]
    assert [body for body, _ in busy.requests] == [b"picture"] * 3


@pytest.mark.parametrize("headers", [{"Retry-After": "86400"}, {}], ids=["tomorrow", "unsaid"])
def test_patience_has_an_end(waits: list[float], headers: dict[str, str]) -> None:
    busy = Busy(100, **headers)
    with served(busy.app) as url, pytest.raises(ServiceError, match="answers 503: try later") as caught:
        Client(url).predict(b"x")
    assert caught.value.status == 503
    assert len(busy.requests) == MOST_RETRIES + 1
    assert 0 < sum(waits) <= 30
    assert len(waits) == MOST_RETRIES


@pytest.mark.parametrize(("status", "retries"), [(503, 0), (500, MOST_RETRIES), (400, MOST_RETRIES)])
def test_other_refusals_are_final(waits: list[float], status: int, retries: int) -> None:
    busy = Busy(1, status)
    with served(busy.app) as url, pytest.raises(ServiceError, match=f"answers {status}: try later"):
        Client(url, retries=retries).predict(b"x")
    assert (len(busy.requests), waits) == (1, [])


@pytest.mark.parametrize("retries", [-1, MOST_RETRIES + 1])
def test_retries_are_bounded(retries: int) -> None:
    with pytest.raises(ValueError, match=f"retries={retries}, expected 0 to 4"):
        Client("http://x", retries=retries)


def test_readiness_is_asked_once(url: str, waits: list[float]) -> None:
    assert Client(url).ready()
    busy = Busy(1, **{"Retry-After": "3"})
    with served(busy.app) as address:
        assert not Client(address).ready()
        assert Client(address).ready()
    assert not Client(address).ready()
    assert waits == []
    with pytest.raises(ServiceError, match="answers 404"):
        Client(f"{url}/nothing").ready()


def test_info_is_an_object() -> None:
    app = Flask("info")
    app.add_url_rule("/info", view_func=lambda: {"model": "roadsigns"})
    with served(app) as url:
        assert Client(url).info() == {"model": "roadsigns"}
    with served(Busy(0).app) as url, pytest.raises(ServiceError, match="/info does not answer a JSON object"):
        Client(url).info()


def test_no_service_and_no_jpeg_are_errors_in_words() -> None:
    with served(Busy(0).app) as url, pytest.raises(ServiceError, match="does not answer a JPEG picture"):
        Client(url).annotate(b"x")
    with pytest.raises(ServiceError, match="does not answer") as caught:
        Client(url).predict(b"x")
    assert caught.value.status is None


@pytest.mark.parametrize(
    "answer", [b"{}", b"[1]", b'[{"label": "cat"}]', b"null", b'[{"boxes": [1, 2, 3, 4], "color": 1, "label": "a"}]']
)
def test_another_services_answer_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    response = requests.Response()
    response.status_code, response._content = 200, answer
    monkeypatch.setattr(requests.Session, "request", lambda *_, **__: response)
    with pytest.raises(ServiceError, match="http://x/predict does not answer a list of detections"):
        Client("http://x").predict(b"")


@pytest.mark.parametrize("answer", [b"", b"null", b"[1]", b"<html>", b"9" * 5000, b"[" * 100_000, b"\xff\xfe\xff"])
def test_an_answer_that_is_no_json_object_is_an_error_in_words(answer: bytes) -> None:
    app = Flask("other")
    app.add_url_rule("/info", view_func=lambda: Response(answer))
    app.add_url_rule("/predict", "predict", methods=["POST"], view_func=lambda: Response(answer, 500))
    with served(app) as url:
        with pytest.raises(ServiceError, match="/info does not answer a JSON object"):
            Client(url).info()
        with pytest.raises(ServiceError, match=r"answers 500: INTERNAL SERVER ERROR$"):
            Client(url).predict(b"x")


@pytest.mark.parametrize("detail", ["null", "7", '[{"loc": ["body"]}]', '{"a": 1}'])
def test_a_detail_that_is_no_text_is_not_shown(detail: str) -> None:
    app = Flask("other")
    app.add_url_rule("/info", view_func=lambda: Response(f'{{"detail": {detail}}}', 422))
    with served(app) as url, pytest.raises(ServiceError, match="answers 422: UNPROCESSABLE"):
        Client(url).info()


def test_a_long_detail_is_shortened() -> None:
    app = Flask("other")
    app.add_url_rule("/info", view_func=lambda: Response('{"detail": "' + "x" * 10**6 + '"}', 400))
    with served(app) as url, pytest.raises(ServiceError) as caught:
        Client(url).info()
    assert 1000 < len(str(caught.value)) < 3000
