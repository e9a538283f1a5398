"""`barevision serve` as a process, and the ports that it can't have."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from barevision.cli import main
from barevision.client import Client
from barevision.models.catalogue import find_source
from barevision.objects import differences, parse_detections
from tests.support.darknet_files import write_model
from tests.support.serving import APP, serving
from tests.support.waiting import wait_until

GOLDEN = find_source("roadsigns").golden


def health(url: str) -> str:
    """What /healthz answers; nothing while one process takes over from another."""
    try:
        return requests.get(f"{url}/healthz", timeout=30).text
    except requests.RequestException:
        return ""


def test_a_free_port_is_chosen_and_told() -> None:
    with serving() as (url, *_):
        assert differences(GOLDEN.expected, Client(url).predict(GOLDEN.picture)) == []
    assert not Client(url).ready()


def test_production_is_gunicorn() -> None:
    with serving("--production", "--model", "roadsigns") as (url, *_):
        wait_until(Client(url).ready, "the service is ready")
        response = requests.post(f"{url}/predict", data=GOLDEN.picture, timeout=30)
        assert response.headers["Server"].startswith("gunicorn")
        assert differences(GOLDEN.expected, parse_detections(response.content)) == []
    assert not Client(url).ready()
    assert CliRunner().invoke(main, ["serve", "--production", "--reload"]).exit_code == 2


def test_changed_code_is_served(tmp_path: Path) -> None:
    shutil.copytree(APP / "barevision", tmp_path / "barevision")
    code = tmp_path / "barevision" / "api" / "status.py"
    with serving("--reload", code=tmp_path) as (url, *_):
        wait_until(Client(url).ready, "the service is ready")
        assert requests.get(f"{url}/healthz", timeout=30).json() == {"status": "ok"}
        code.write_text(code.read_text().replace('"ok"', '"changed"'))
        wait_until(lambda: "changed" in health(url), "the changed code serves")
        changed = code.read_text()
        code.write_text(f"{changed}\ndef broken(:\n")
        wait_until(lambda: "SyntaxError" in health(url), "the error is shown")
        code.write_text(changed)
        wait_until(lambda: "changed" in health(url), "the changed code serves")
    assert not Client(url).ready()


def test_a_model_that_broke_is_not_reloaded_in_production(tmp_path: Path) -> None:
    model = write_model(tmp_path / "mine")
    with serving("--production", "--model", str(model)) as (url, process, log):
        wait_until(Client(url).ready, "the service is ready")
        (weights,) = model.glob("*.weights")
        weights.write_bytes(weights.read_bytes()[:-4])
        os.kill(process, signal.SIGHUP)
        wait_until(lambda: f"{weights.name} ends here" in log.read_text(), log.read_text)
        assert "Nothing is reloaded" in log.read_text()
        assert Client(url).ready()


@pytest.mark.parametrize("options", [[], ["--reload"]])
def test_a_port_in_use_is_an_error_with_a_way_out(options: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["serve", "--port", str(port), *options])
    assert result.exit_code == 1
    assert f"Error: port {port} of 127.0.0.1 is in use; choose another with --port, or --port 0" in result.stderr


def test_a_privileged_port_is_an_error_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)
    result = CliRunner().invoke(main, ["serve", "--port", "80"])
    assert (result.exit_code, "port 80 needs root; choose one from 1024" in result.stderr) == (1, True)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_a_host_of_another_machine_is_an_error(host: str) -> None:
    result = CliRunner().invoke(main, ["serve", "--host", host])
    assert result.exit_code == 1
    assert f"Error: can't listen on --host {host}: " in result.stderr
