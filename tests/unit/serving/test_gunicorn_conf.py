"""Gunicorn's settings, as a service uses them that is started through the link to its release."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from http.client import HTTPResponse
from pathlib import Path

from tests.support.serving import APP
from tests.support.waiting import wait_until

# Both modules say which release they are of. A worker finds the first in the folder it runs in, the second in its path.
APPLICATION = """
from types import SimpleNamespace
from barevision.api.admission import Admission
from late import RELEASE as LATE
RELEASE = {release!r}
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2"), ("Connection", "close")])
    return [(RELEASE + LATE).encode()]
app.extensions = {{"barevision": SimpleNamespace(admission=Admission(1, 1, 1))}}
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


def test_a_new_worker_is_of_the_release_that_was_started_not_of_the_current_one(tmp_path: Path) -> None:
    current, path = tmp_path / "current", tmp_path / "socket"
    make_release(tmp_path, "a")
    make_release(tmp_path, "b")
    current.symlink_to("a")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(APP), str(current / "env")])}
    # systemd sets no PWD.
    environment.pop("PWD", None)
    command = [sys.executable, "-m", "gunicorn", "--config", APP / "barevision/serving/gunicorn_conf.py"]
    options = ["--bind", f"unix:{path}", "own:app"]
    with subprocess.Popen([*command, *options], cwd=current / "app", env=environment) as process:
        try:
            wait_until(path.exists, "Gunicorn listens")
            assert ask(path) == "aa"
            current.unlink()
            current.symlink_to("b")
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            worker = children.read_text().split()[0]
            os.kill(int(worker), signal.SIGKILL)
            wait_until(lambda: children.read_text().split() not in ([], [worker]), "another worker")
            assert ask(path) == "aa"
        finally:
            process.terminate()
