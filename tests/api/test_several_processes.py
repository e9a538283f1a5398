"""The real service, where a plan shares a network's streams among two processes."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from barevision.choosing.choice import Choice
from barevision.choosing.speeds import Measurement, conditions, write_measurement
from barevision.engines import Plan
from barevision.models.catalogue import find_source
from barevision.models.prepare import prepare
from barevision.settings import load_settings
from tests.fuzz.service import Service, running_service
from tests.support.waiting import wait_until


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    settings = load_settings(models_dir=tmp_path / "models").model_copy(update={"threads": 2})
    model = prepare(find_source("roadsigns", settings.models_dir), settings.models_dir)
    choice = Choice(Plan("onnxruntime", "f32", 2, 1, processes=2), "a test says so", 0.001, 1000, 1)
    assert write_measurement(model.path, Measurement(conditions(settings), True, choice, []))
    with running_service(tmp_path, BAREVISION_THREADS="2", BAREVISION_MODEL="roadsigns") as service:
        yield service


def predict(service: Service, picture: bytes) -> tuple[int | None, bytes]:
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(picture)}\r\n\r\n"
    return service.ask(head.encode() + picture)


def number(service: Service, name: str) -> float:
    """The value of a metric, whichever process is asked for it."""
    values = {re.search(rf"^{re.escape(name)} (.+)$", service.get("/metrics")[1], re.MULTILINE)[1] for _ in range(8)}
    (value,) = values
    return float(value)


def test_numbers_are_those_of_all_processes_and_outlive_each(service: Service, picture: bytes) -> None:
    assert json.loads(service.get("/info")[1])["engine"]["processes"] == 2
    assert json.loads(service.get("/info")[1])["engine"]["streams"] == 2
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: predict(service, picture), range(40)))
    assert {status for status, _ in answers} == {200}
    assert len({body for _, body in answers}) == 1

    answered = 'barevision_requests_total{method="POST",path="/predict",status="200"}'
    assert number(service, answered) == 40
    assert number(service, 'barevision_stage_seconds_count{stage="infer"}') == 40
    assert number(service, "barevision_in_flight") == number(service, "barevision_waiting") == 0

    before = service.workers()
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: len(service.workers()) == 2 and service.workers() != before, "another process")
    wait_until(lambda: "barevision_processes 2.0" in service.get("/metrics")[1], "both answer")
    assert predict(service, picture)[0] == 200
    assert number(service, answered) == 41
    assert number(service, "barevision_ready") == 1


def test_counts_leave_nothing_behind(service: Service, tmp_path: Path) -> None:
    environment = Path(f"/proc/{service.workers()[0]}/environ")
    os.kill(service.gunicorn, signal.SIGTERM)
    wait_until(lambda: not environment.exists(), "the worker has ended")
    wait_until(lambda: not Path(f"/proc/{service.gunicorn}").exists() or _has_ended(service), "Gunicorn has ended")
    assert not list(Path("/dev/shm").glob(f"barevision-{service.gunicorn}-*"))


def _has_ended(service: Service) -> bool:
    return Path(f"/proc/{service.gunicorn}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
