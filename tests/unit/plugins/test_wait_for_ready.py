"""The module wait_for_ready, with stand-ins for systemctl and the service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from plugins.modules import wait_for_ready

ACTIVE = "ActiveState=active\nNRestarts=2\nResult=success\n"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes only while a service is asked."""
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: None)
    monkeypatch.setattr(wait_for_ready, "time", clock)


def run(socket: Path, *states: str, timeout: int = 60) -> dict[str, Any]:
    """The module's result while systemctl prints `states`, and then the last of them again and again."""
    shown: Iterator[str] = iter(states)

    def run_command(command: list[str], check_rc: bool) -> tuple[int, str, str]:
        assert command == ["systemctl", "show", "--property=ActiveState,NRestarts,Result", "some.service"]
        return 0, next(shown, states[-1]), ""

    params = {"name": "some.service", "socket": str(socket), "timeout": timeout}
    return wait_for_ready.run(SimpleNamespace(params=params, run_command=run_command))


def test_a_service_that_answers_is_ready(answers: SimpleNamespace) -> None:
    answers.body = b'{"status": "ready", "detail": "all 3 boxes were found"}'
    assert run(answers.socket, ACTIVE) == {"detail": "all 3 boxes were found"}


def test_what_is_not_ready_says_why(answers: SimpleNamespace) -> None:
    answers.line, answers.body = b"HTTP/1.1 503 Service Unavailable", b'{"detail": "missing: elephant"}'
    assert run(answers.socket, ACTIVE) == {"problem": "/readyz answers 503: missing: elephant"}


def test_a_service_that_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    ended = "ActiveState=failed\nNRestarts=2\nResult=exit-code\n"
    assert run(tmp_path / "none", ACTIVE, ACTIVE, ended) == {"problem": "it has ended (exit-code)"}


def test_a_service_that_is_started_again_and_again_is_not_waited_for(tmp_path: Path) -> None:
    states = [f"ActiveState=activating\nNRestarts={number}\nResult=exit-code\n" for number in range(2, 9)]
    assert "it has ended 3 times" in run(tmp_path / "none", *states)["problem"]


def test_a_service_that_does_not_answer_has_so_many_seconds(answers: SimpleNamespace) -> None:
    answers.line = b""
    assert run(answers.socket, ACTIVE, timeout=1) == {"problem": "it does not answer within 1 seconds"}


def test_a_service_that_waits_for_its_socket_is_started_by_the_request(answers: SimpleNamespace) -> None:
    assert run(answers.socket, "ActiveState=inactive\nNRestarts=0\nResult=success\n") == {"detail": ""}


def test_the_module_takes_what_it_documents() -> None:
    documented = yaml.safe_load(wait_for_ready.DOCUMENTATION)["options"]
    assert all(option.pop("description") for option in documented.values())
    assert documented == wait_for_ready._ARGUMENTS
    assert yaml.safe_load(wait_for_ready.EXAMPLES)
    assert yaml.safe_load(wait_for_ready.RETURN)
