"""Gunicorn's settings, as a service uses them that is started through the link to its release."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

from tests.support.serving import APP
from tests.support.waiting import wait_until

# Both modules say which release they are of. A worker finds the first in the folder it runs in, the second in its path.
APPLICATION = """
from types import SimpleNamespace
from barevision.api.admission import Admission
from barevision.api.readiness import Readiness
from late import RELEASE as LATE
RELEASE = {release!r}
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2"), ("Connection", "close")])
    return [(RELEASE + LATE).encode()]
app.extensions = {{"barevision": SimpleNamespace(
    admission=Admission(1, 1, 1), readiness=Readiness(lambda: "right", 60)
)}}
"""


def make_release(folder: Path, name: str) -> None:
    for part, module, text in (("app", "own", APPLICATION), ("env", "late", "RELEASE = {release!r}\n")):
        (folder / name / part).mkdir(parents=True)
        (folder / name / part / f"{module}.py").write_text(text.format(release=name))


def ask(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(path))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        response = HTTPResponse(connection)
        response.begin()
        return response.read().decode()


@contextlib.contextmanager
def gunicorn(folder: Path, **environment: str) -> Iterator[subprocess.Popen]:
    """Gunicorn, which serves the release "a" of `folder` as the current one, at a socket there."""
    make_release(folder, "a")
    (folder / "current").symlink_to("a")
    path = os.pathsep.join([str(APP), str(folder / "current" / "env")])
    environment = {**os.environ, "PYTHONPATH": path, **environment}
    # systemd sets no PWD.
    environment.pop("PWD", None)
    command = [sys.executable, "-m", "gunicorn", "--config", APP / "barevision/serving/gunicorn_conf.py"]
    options = ["--bind", f"unix:{folder / 'socket'}", "own:app"]
    with subprocess.Popen([*command, *options], cwd=folder / "current" / "app", env=environment) as process:
        try:
            wait_until((folder / "socket").exists, "Gunicorn listens")
            yield process
        finally:
            process.terminate()


def test_a_new_worker_is_of_the_release_that_was_started_not_of_the_current_one(tmp_path: Path) -> None:
    current, path = tmp_path / "current", tmp_path / "socket"
    make_release(tmp_path, "b")
    with gunicorn(tmp_path) as process:
        assert ask(path) == "aa"
        current.unlink()
        current.symlink_to("b")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        worker = children.read_text().split()[0]
        os.kill(int(worker), signal.SIGKILL)
        wait_until(lambda: children.read_text().split() not in ([], [worker]), "another worker")
        assert ask(path) == "aa"


def test_systemd_hears_that_gunicorn_goes_on(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        with gunicorn(tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify")):
            heard = [systemd.recv(1000) for _ in range(4)]
    assert sorted(heard[:2])[1] == b"WATCHDOG_USEC=60000000"
    assert heard[2:] == [b"WATCHDOG=1"] * 2
