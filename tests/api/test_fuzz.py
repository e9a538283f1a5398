"""A short series of the fuzzer against the real service; `make fuzz` sends the long one."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.series import large_png, run_series, seed_pictures
from tests.fuzz.service import running_service

_REQUESTS = 400


def test_the_service_stands_damaged_pictures_and_requests(tmp_path: Path) -> None:
    pictures = seed_pictures([])
    with running_service(tmp_path) as service:
        workers = service.workers()
        outcome = run_series(service, 2, range(_REQUESTS), pictures)
        assert outcome.faults == {}, (tmp_path / "log").read_text()
        assert service.workers() == workers
        assert sum(outcome.statuses.values()) == _REQUESTS
        assert {200, 400, 413, 422} <= outcome.statuses.keys()

        data = large_png(10_000)
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
        service.forget_peak()
        before = service.memory()
        status, answer = service.ask(head.encode() + data)
        assert status == 413, answer
        assert service.memory("VmHWM") - before < 20 * 10**6
