"""The worker in a real Gunicorn, asked over its Unix socket as NGINX asks it."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest
from gunicorn.config import Config

from barevision.serving.worker import Worker
from tests.support.serving import APP
from tests.support.waiting import wait_until

BODY = bytes(range(256)) * 1000


def wsgi_app(environ: dict, start_response: Callable) -> Iterable[bytes]:
    """What the Gunicorn of these tests serves."""
    start_response("200 OK", [("Content-Length", str(len(BODY)))])
    assert environ["barevision.threads"] == 2
    if environ["PATH_INFO"] == "/file":
        return environ["wsgi.file_wrapper"](io.FileIO(os.environ["BODY_FILE"]))
    return _parts(environ["PATH_INFO"] == "/death")


def _parts(dies: bool) -> Iterator[bytes]:
    yield BODY[:1000]
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    yield BODY[1000:]


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """The socket of a running Gunicorn."""
    path, body = tmp_path / "socket", tmp_path / "body"
    body.write_bytes(BODY)
    command = [sys.executable, "-m", "gunicorn", "--bind", f"unix:{path}"]
    options = ["--worker-class", "barevision.serving.worker.Worker", "--no-control-socket", "--threads", "2"]
    options += [f"{__name__.rpartition('.')[2]}:wsgi_app"]
    environment = {
        **os.environ,
        "BODY_FILE": str(body),
        "PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parent, APP.parent, APP))),
    }
    log = tmp_path / "log"
    with (
        log.open("wb") as out,
        subprocess.Popen([*command, *options], env=environment, cwd=tmp_path, stderr=out) as process,
    ):
        try:
            wait_until(path.exists, log.read_text)
            yield path
        finally:
            process.terminate()


def connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(60)
    connection.connect(str(path))
    return connection


def ask(connection: socket.socket, target: str) -> bytes:
    connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    response = HTTPResponse(connection)
    response.begin()
    return response.read()


def test_answers_arrive_whole_one_after_the_other_on_a_connection(path: Path) -> None:
    with connect(path) as connection:
        assert ask(connection, "/") == BODY
        assert ask(connection, "/file") == BODY
        assert ask(connection, "/") == BODY


def test_a_worker_that_dies_amid_an_answer_has_sent_nothing_of_it(path: Path) -> None:
    with connect(path) as connection:
        connection.sendall(b"GET /death HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(100) == b""
    with connect(path) as connection:
        assert ask(connection, "/") == BODY


def test_a_request_that_is_answered_unread_is_still_taken_whole(path: Path) -> None:
    request = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4000000\r\n\r\n"
    with connect(path) as connection:
        connection.sendall(request + bytes(4_000_000))
        response = HTTPResponse(connection)
        response.begin()
        assert response.read() == BODY


@pytest.mark.parametrize(
    ("request_", "status", "title", "words"),
    [
        (b"GARBAGE\r\n\r\n", 400, "Bad Request", "GARBAGE"),
        (b"GET / HTTP/9.1\r\n\r\n", 400, "Bad Request", "(9, 1)"),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n", 414, "URI Too Long", "5014 > 4094"),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 101 + b"\r\n", 431, "Request Header Fields Too Large", ""),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431, "Request Header Fields Too Large", ""),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: x\r\n\r\n", 501, "Not Implemented", "x"),
        (b"POST / HTTP/1.1\r\nExpect: x\r\nContent-Length: 0\r\n\r\n", 417, "Expectation Failed", "x"),
    ],
)
def test_what_gunicorn_refuses_itself_is_a_problem_document(
    path: Path, request_: bytes, status: int, title: str, words: str
) -> None:
    with connect(path) as connection:
        connection.sendall(request_)
        response = HTTPResponse(connection)
        response.begin()
        document = json.loads(response.read())
    assert response.status == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert len(response.headers["X-Request-ID"]) == 32
    assert set(document) == {"type", "title", "status", "detail"}
    assert document["status"] == status
    assert document["title"] == response.reason == title
    assert words in document["detail"]
    assert len(document["detail"]) <= 200


def test_sigint_and_sigquit_end_the_worker_without_an_exception() -> None:
    worker = Worker(1, 1, [], None, 1, Config(), None)
    worker.method_queue.init()
    for signal_ in (signal.SIGINT, signal.SIGQUIT):
        worker.handle_quit(signal_, None)
    worker.method_queue.close()
    worker.tmp.close()
    assert not worker.alive
