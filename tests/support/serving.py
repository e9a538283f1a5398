"""Servers for tests: any one, an app in this process, and the command line's service in one of its own."""

from __future__ import annotations

import os
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from flask import Flask
from werkzeug.serving import make_server

from tests.support.waiting import wait_until

APP = Path(__file__).parents[2] / "app"


class Served(NamedTuple):
    """What `barevision serve` serves: its address, the number of its process, and the file of all that it prints."""

    url: str
    process: int
    log: Path


@contextmanager
def running(server: socketserver.BaseServer) -> Iterator[str]:
    """The address of `server`, which handles requests in a thread until the end, and is closed then."""
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The address at which `app` answers."""
    with running(make_server("127.0.0.1", 0, app, threaded=True)) as address:
        yield address


@contextmanager
def serving(*options: str, code: Path = APP) -> Iterator[Served]:
    """`barevision serve` with `options` on a free port, of the package in the folder `code`, ended by a Ctrl-C."""
    command = [sys.executable, "-m", "barevision", "serve", "--port", "0", *options]
    environment = {**os.environ, "PYTHONPATH": str(code)}
    # Not a pipe: nobody reads on, and once it is full the service waits for that.
    with (
        tempfile.NamedTemporaryFile() as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True) as process,
    ):
        try:
            yield Served(_address(Path(log.name), process), process.pid, Path(log.name))
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(timeout=30)


def _address(log: Path, process: subprocess.Popen) -> str:
    def is_announced() -> bool:
        assert process.poll() is None, log.read_text()
        return "Barevision listens on " in log.read_text()

    wait_until(is_announced, log.read_text)
    return log.read_text().partition("Barevision listens on ")[2].split()[0]
