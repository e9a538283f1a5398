"""What `systemctl reload` does: Gunicorn as the rendered unit starts it, asked all the time."""

from __future__ import annotations

import contextlib
import os
import signal
import string
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import TextIO

import pytest
import requests

from barevision.models.catalogue import find_source
from barevision.serving.reload import read_environment
from tests.roles.rendering import ROOT, Site, settings, unit_values
from tests.support.darknet_files import write_model
from tests.support.lab import FIXED_PLAN
from tests.support.waiting import wait_until

GOLDEN = find_source("roadsigns").golden.picture


@dataclass(frozen=True)
class Service:
    """A Gunicorn that `unit` describes. `settings_path` has the service's settings, which a user changes."""

    process: subprocess.Popen
    unit: str
    settings_path: Path
    log_path: Path

    def url(self, path: str) -> str:
        (line,) = [line for line in self.log_path.read_text().splitlines() if "Listening at: http://" in line]
        return line.partition("Listening at: ")[2].split()[0] + path

    def model(self) -> str:
        return requests.get(self.url("/info"), timeout=60).json()["model"]["name"]

    def set_model(self, model: str) -> None:
        others = [line for line in self.settings_path.read_text().splitlines() if "BAREVISION_MODEL=" not in line]
        self.settings_path.write_text("\n".join([*others, f'BAREVISION_MODEL="{model}"', ""]))

    def reload(self) -> subprocess.CompletedProcess[str]:
        """Runs the unit's ExecReload lines as systemd does: in their order, up to the first that fails."""
        environment = unit_environment(self.unit, self.settings_path) | {"MAINPID": str(self.process.pid)}
        for line in unit_values(self.unit, "ExecReload"):
            command = unit_command(string.Template(line).substitute(environment))
            done = subprocess.run(
                command, cwd=ROOT / "app", env=environment, capture_output=True, text=True, timeout=120, check=False
            )
            if done.returncode != 0:
                break
        return done

    def hang_up(self) -> str:
        """Sends Gunicorn SIGHUP alone, and returns what it then logs about the reload that it refuses."""
        length = len(self.log_path.read_text())
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "Nothing is reloaded" in self.log_path.read_text()[length:], self.log_path.read_text)
        return self.log_path.read_text()[length:]

    @contextlib.contextmanager
    def trial(self) -> Iterator[TextIO]:
        """A reload's trial that has begun, and goes on when its settings are written to what this gives."""
        self.settings_path.unlink()
        os.mkfifo(self.settings_path)
        self.process.send_signal(signal.SIGHUP)
        with self.settings_path.open("w") as settings_file:
            yield settings_file

    def kill_worker(self) -> None:
        """Kills the worker, and waits until another is there."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        worker = children.read_text().split()[0]
        os.kill(int(worker), signal.SIGKILL)
        wait_until(lambda: children.read_text().split() not in ([], [worker]), self.log_path.read_text)


def unit_environment(unit: str, settings_path: Path) -> dict[str, str]:
    """The environment that systemd gives to the unit's processes."""
    own = dict(line.split("=", 1) for line in unit_values(unit, "Environment"))
    return {**os.environ, **own, **settings(settings_path.read_text())}


def unit_command(line: str) -> list[str]:
    """The command of a line of the unit, with this computer's Python."""
    program, *arguments = line.split()
    return [sys.executable if program.endswith("/python") else program, *arguments]


@dataclass
class Client:
    """Asks for predictions until it is told to stop."""

    url: str
    statuses: list[int] = field(default_factory=list)
    stop: Event = field(default_factory=Event)

    def run(self) -> None:
        while not self.stop.is_set():
            self.statuses.append(requests.post(self.url, data=GOLDEN, timeout=60).status_code)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    settings_path, log_path = tmp_path / "barevision.env", tmp_path / "log"
    # One way of running a model is left, which no reload has to measure.
    site = Site(app_models_dir=str(tmp_path / "models"), app_settings_path=str(settings_path), **FIXED_PLAN)
    settings_path.write_text(site.render("app", "etc/barevision/barevision.env"))
    unit = site.render("gunicorn", "etc/systemd/system/barevision.service")
    (start,) = unit_values(unit, "ExecStart")
    command = [*unit_command(start), "--bind", "127.0.0.1:0"]
    environment = unit_environment(unit, settings_path)
    with (
        log_path.open("wb") as log,
        subprocess.Popen(command, cwd=ROOT / "app", env=environment, stdout=log, stderr=log) as process,
    ):
        running = Service(process, unit, settings_path, log_path)
        try:
            wait_until(lambda: "Listening at" in log_path.read_text(), log_path.read_text)
            assert running.model() == "roadsigns"
            yield running
        finally:
            process.terminate()


@pytest.fixture
def clients(service: Service) -> Iterator[Client]:
    """Two that ask all the time. No request may be lost."""
    client = Client(service.url("/predict"))
    threads = [Thread(target=client.run) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield client
    client.stop.set()
    for thread in threads:
        thread.join()
    assert set(client.statuses) == {200}, service.log_path.read_text()


def test_another_model_takes_over_without_a_lost_request(service: Service, clients: Client, tmp_path: Path) -> None:
    service.set_model(str(write_model(tmp_path / "mine")))
    done = service.reload()
    assert done.returncode == 0, done.stderr
    wait_until(lambda: service.model() == "mine", service.log_path.read_text)
    answered = len(clients.statuses)
    wait_until(lambda: len(clients.statuses) > answered + 2, service.log_path.read_text)


@pytest.mark.parametrize(("damage", "complaint"), [("cut", "net.weights ends here"), ("missing", "unknown model")])
@pytest.mark.parametrize("sender", ["systemctl", "SIGHUP"])
def test_a_bad_model_leaves_the_old_one_at_work_and_is_named(
    service: Service, clients: Client, tmp_path: Path, damage: str, complaint: str, sender: str
) -> None:
    model = tmp_path / "mine"
    if damage == "cut":
        (weights,) = write_model(model).glob("*.weights")
        weights.write_bytes(weights.read_bytes()[:-4])
    service.set_model(str(model))
    if sender == "systemctl":
        done = service.reload()
        assert done.returncode != 0
        said = done.stderr
    else:
        said = service.hang_up()
    assert complaint in said
    assert "Traceback" not in said
    assert service.model() == "roadsigns"


@pytest.mark.parametrize(
    "line", ['BAREVISION_MODEL="roadsigns', "roadsigns", 'BAREVISION_NMS="2"', 'BAREVISION_MODLE="x"']
)
def test_bad_settings_leave_the_service_at_work_and_are_named(service: Service, clients: Client, line: str) -> None:
    with service.settings_path.open("a") as file:
        file.write(f"{line}\n")
    said = service.hang_up()
    assert line.partition("=")[0] in said
    assert "Traceback" not in said
    assert service.model() == "roadsigns"


def test_a_worker_that_dies_before_the_reload_comes_back_with_the_old_model(service: Service, tmp_path: Path) -> None:
    service.set_model(str(tmp_path / "missing"))
    service.kill_worker()
    assert service.model() == "roadsigns"


def test_a_worker_that_dies_during_the_trial_is_replaced(service: Service, tmp_path: Path) -> None:
    service.set_model(str(write_model(tmp_path / "mine")))
    text = service.settings_path.read_text()
    with service.trial() as settings_file:
        service.kill_worker()
        assert service.model() == "roadsigns"
        settings_file.write(text)
    wait_until(lambda: service.model() == "mine", service.log_path.read_text)


def test_a_stop_does_not_wait_for_the_trial(service: Service) -> None:
    with service.trial():
        service.process.terminate()
        assert service.process.wait(timeout=60) == 0


def test_a_setting_that_was_taken_out_counts_no_more(service: Service) -> None:
    def confidence() -> float:
        return requests.get(service.url("/info"), timeout=60).json()["defaults"]["confidence"]

    text = service.settings_path.read_text()
    service.settings_path.write_text(text.replace('CONFIDENCE="0.5"', 'CONFIDENCE="0.7"'))
    assert service.reload().returncode == 0
    wait_until(lambda: confidence() == 0.7, service.log_path.read_text)
    others = [line for line in text.splitlines() if "CONFIDENCE" not in line]
    service.settings_path.write_text("\n".join([*others, ""]))
    assert service.reload().returncode == 0
    wait_until(lambda: confidence() == 0.5, service.log_path.read_text)


def test_settings_are_read_as_systemd_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(app_model='/srv/models/my "best" \\new model', app_settings_path=str(tmp_path / "barevision.env"))
    path = Path(site.value("app_settings_path"))
    path.write_text(site.render("app", "etc/barevision/barevision.env") + "BAREVISION_LOG_LEVEL=a#b\n")
    monkeypatch.setenv("BAREVISION_SETTINGS_FILE", str(path))
    monkeypatch.setenv("BAREVISION_THREADS", "7")
    environment = read_environment()
    assert environment["BAREVISION_MODEL"] == site.value("app_model")
    assert environment["BAREVISION_LOG_LEVEL"] == "a#b"
    assert "BAREVISION_THREADS" not in environment
    assert environment["BAREVISION_SETTINGS_FILE"] == str(path)
    assert environment["PATH"] == os.environ["PATH"]
