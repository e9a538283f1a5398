"""The real service: Gunicorn with Barevision's worker on a Unix socket, its memory and its workers."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from tests.support.waiting import wait_until

_ROOT = Path(__file__).parents[2]
_UNIT = _ROOT / "roles/gunicorn/templates/etc/systemd/system/barevision.service.j2"
_START_SECONDS = 120
_ANSWER_SECONDS = 60


@dataclass(frozen=True)
class Service:
    """A running Gunicorn with all of its workers."""

    path: Path
    gunicorn: int

    def workers(self) -> list[int]:
        """The process numbers of its workers."""
        children = Path(f"/proc/{self.gunicorn}/task/{self.gunicorn}/children")
        return [int(number) for number in children.read_text().split()]

    def memory(self, name: str = "VmRSS") -> int:
        """What its workers take now (VmRSS) or took at most (VmHWM) together, in bytes."""
        statuses = [Path(f"/proc/{worker}/status").read_text().splitlines() for worker in self.workers()]
        return sum(int(line.split()[1]) * 1024 for lines in statuses for line in lines if line.startswith(f"{name}:"))

    def forget_peak(self) -> None:
        """Sets VmHWM back to VmRSS."""
        for worker in self.workers():
            Path(f"/proc/{worker}/clear_refs").write_text("5")

    def get(self, path: str) -> tuple[int | None, str]:
        """Status and body of the answer at `path`; no status if none came."""
        with contextlib.suppress(OSError):
            status, body = self.ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            return status, body.decode()
        return None, ""

    def ask(self, request: bytes, whole: bool = True) -> tuple[int | None, bytes]:
        """Status and body of the answer to `request`; no status if none came.

        :param whole: otherwise the end of what is sent is the end of the connection.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            connection.connect(str(self.path))
            # An answer may come before all was sent.
            with contextlib.suppress(OSError):
                connection.sendall(request)
                if not whole:
                    connection.shutdown(socket.SHUT_WR)
            response = HTTPResponse(connection, method=request.split(b" ", 1)[0].decode())
            try:
                response.begin()
                return response.status, response.read()
            except TimeoutError:
                raise
            except (HTTPException, OSError):
                return None, b""


@contextlib.contextmanager
def running_service(folder: Path, **settings: str) -> Iterator[Service]:
    """The service with the embedded model; its socket, model and log are in `folder`."""
    path = folder / "socket"
    command = [sys.executable, "-m", "gunicorn", "--config", _ROOT / "app/barevision/serving/gunicorn_conf.py"]
    options = ["--bind", f"unix:{path}", "barevision.serving.wsgi:app"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BAREVISION_")}
    environment |= {**_unit_environment(), "BAREVISION_MODELS_DIR": str(folder / "models"), **settings}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([*command, *options], env=environment, stdout=log, stderr=log) as process,
    ):
        service = Service(path, process.pid)
        try:
            _wait(service, process, folder / "log")
            yield service
        finally:
            process.terminate()


def _unit_environment() -> dict[str, str]:
    """What the service's unit sets on every machine."""
    lines = [line for line in _UNIT.read_text("utf-8").splitlines() if line.startswith("Environment=")]
    return dict(line.removeprefix("Environment=").split("=", 1) for line in lines if "{{" not in line)


def _wait(service: Service, process: subprocess.Popen, log: Path) -> None:
    def is_ready() -> bool:
        assert process.poll() is None, f"the service doesn't start:\n{log.read_text()}"
        if service.get("/readyz")[0] != 200:
            return False
        wanted = json.loads(service.get("/info")[1])["engine"]["processes"]
        return f"barevision_processes {wanted:.1f}" in service.get("/metrics")[1]

    wait_until(is_ready, lambda: f"all workers are ready:\n{log.read_text()}", _START_SECONDS)
