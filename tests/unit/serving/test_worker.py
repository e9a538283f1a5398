"""The worker in a real Gunicorn, asked over its Unix socket as NGINX asks it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse, RemoteDisconnected
from pathlib import Path
from types import SimpleNamespace

import pytest
from gunicorn.config import Config

from barevision.api import admission
from barevision.api.admission import Admission
from barevision.api.readiness import Readiness
from barevision.serving.worker import Worker, current_process
from tests.support.serving import APP
from tests.support.waiting import wait_until

BODY = bytes(range(256)) * 1000


def wsgi_app(environ: dict, start_response: Callable) -> Iterable[bytes]:
    """What the Gunicorn of these tests serves."""
    if environ["PATH_INFO"] == "/thread":
        thread = str(threading.get_ident()).encode()
        start_response("200 OK", [("Content-Length", str(len(thread)))])
        return [thread]
    start_response("200 OK", [("Content-Length", str(len(BODY)))])
    if environ["PATH_INFO"] == "/pid":
        return [str(os.getpid()).ljust(len(BODY)).encode()]
    if environ["PATH_INFO"] == "/inside":
        inside = sum(process.inside for process in current_process().everyone())
        return [str(inside).ljust(len(BODY)).encode()]
    if environ["PATH_INFO"] == "/draining":
        return [str(wsgi_app.extensions["barevision"].readiness.is_draining()).ljust(len(BODY)).encode()]
    if environ["PATH_INFO"] == "/hung":
        with wsgi_app.extensions["barevision"].readiness.predicting():
            time.sleep(3600)
    if environ["PATH_INFO"].startswith("/slow"):
        return _slowly(environ)
    if environ["PATH_INFO"] == "/status":
        return [Path("/proc/self/status").read_bytes().ljust(len(BODY))]
    if environ["PATH_INFO"] == "/ticket":
        return [str(environ["barevision.ticket"]).ljust(len(BODY)).encode()]
    if environ["PATH_INFO"] == "/file":
        return environ["wsgi.file_wrapper"](io.FileIO(os.environ["BODY_FILE"]))
    return _parts(environ["PATH_INFO"] == "/death")


wsgi_app.extensions = {
    "barevision": SimpleNamespace(
        admission=Admission(1, 1, 2, current_process()), readiness=Readiness(lambda: "right", 60, 1, current_process())
    )
}
if "MOMENT" in os.environ:
    admission._MOMENT = float(os.environ["MOMENT"])
if "WORKERS" in os.environ:
    others = [other for other in current_process().others() if other.takes_connections]
    current_process().numbers.wanted = int(os.environ["WORKERS"])
    if os.environ.get("FAILS") and others:
        raise MemoryError


def _slowly(environ: dict) -> Iterable[bytes]:
    """A prediction that takes a tenth of a second, or a whole one, or its refusal at once."""
    ticket = environ["barevision.ticket"]
    if ticket.refusal:
        return [b"refused".ljust(len(BODY))]
    with wsgi_app.extensions["barevision"].admission.turn(ticket):
        time.sleep(1 if environ["PATH_INFO"].startswith("/slower") else 0.1)
    if environ["PATH_INFO"].endswith("-pid"):
        return [str(os.getpid()).ljust(len(BODY)).encode()]
    return [b"predicted".ljust(len(BODY))]


def _parts(dies: bool) -> Iterator[bytes]:
    yield BODY[:1000]
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    yield BODY[1000:]


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """The socket of a running Gunicorn."""
    with gunicorn(tmp_path) as path:
        yield path


@contextlib.contextmanager
def gunicorn(tmp_path: Path, **variables: str) -> Iterator[Path]:
    """As `path`, with `variables` in its environment."""
    path, body = tmp_path / "socket", tmp_path / "body"
    body.write_bytes(BODY)
    command = [sys.executable, "-m", "gunicorn", "--config", APP / "barevision/serving/gunicorn_conf.py"]
    options = ["--bind", f"unix:{path}", "--graceful-timeout", "1", "--timeout", "300", "--worker-connections", "100"]
    options += [f"{__name__.rpartition('.')[2]}:wsgi_app"]
    environment = {
        **os.environ,
        **variables,
        "BODY_FILE": str(body),
        "PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parent, APP.parent, APP))),
    }
    log = tmp_path / "log"
    with (
        log.open("wb") as out,
        subprocess.Popen([*command, *options], env=environment, cwd=tmp_path, stderr=out) as process,
    ):
        try:
            wait_until(lambda: _listens(path), log.read_text)
            yield path
        finally:
            process.terminate()


def _listens(path: Path) -> bool:
    # The socket is there a moment before Gunicorn listens on it.
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


def connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(60)
    connection.connect(str(path))
    return connection


def ask(connection: socket.socket, target: str, method: str = "GET") -> bytes:
    send(connection, target, method)
    return receive(connection)


def send(connection: socket.socket, target: str, method: str) -> None:
    connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())


def receive(connection: socket.socket) -> bytes:
    response = HTTPResponse(connection)
    response.begin()
    return response.read()


def inside(path: Path) -> int:
    """How many predictions wait or are made in all processes."""
    with connect(path) as connection:
        return int(ask(connection, "/inside"))


def pids(path: Path, requests: int) -> list[str]:
    """The processes that answer so many predictions, which take a tenth of a second each, at once."""

    def ask_one(_: int) -> str:
        with connect(path) as connection:
            return ask(connection, "/slow-pid", "POST").decode().strip()

    with ThreadPoolExecutor(requests) as pool:
        return list(pool.map(ask_one, range(requests)))


def test_there_are_as_many_workers_as_the_app_wants(tmp_path: Path) -> None:
    with gunicorn(tmp_path, WORKERS="3") as path:
        wait_until(lambda: len(set(pids(path, 6))) == 3, "three workers")
        dead = pids(path, 1)[0]
        os.kill(int(dead), signal.SIGKILL)
        wait_until(lambda: len({*pids(path, 6)} - {dead}) == 3, "three workers again")


def test_the_worker_that_has_least_to_do_takes_the_next_request(tmp_path: Path) -> None:
    """Where the other one leaves it time enough for a busy machine. By chance, half of the pairs would be shared."""

    def is_shared() -> bool:
        """Whether two requests, of which the second one comes when the first one is counted, have a worker each."""
        with connect(path) as first, connect(path) as second:
            send(first, "/slower-pid", "POST")
            wait_until(lambda: inside(path) == 1, "the first request")
            send(second, "/slow-pid", "POST")
            return receive(first) != receive(second)

    with gunicorn(tmp_path, WORKERS="2", MOMENT="0.4") as path:
        wait_until(lambda: len(set(pids(path, 4))) == 2, "two workers")
        assert sum(is_shared() for _ in range(10)) >= 9


def test_a_worker_that_can_not_load_leaves_the_others_at_work(tmp_path: Path) -> None:
    with gunicorn(tmp_path, WORKERS="2", FAILS="1") as path:
        said = "a worker can't load the app; others have"
        wait_until(lambda: said in (tmp_path / "log").read_text(), "the second worker")
        first = pids(path, 1)
        wait_until(lambda: (tmp_path / "log").read_text().count(said) > 1, "the next try")
        assert pids(path, 1) == first


def test_a_worker_that_stands_still_takes_no_requests_from_the_others(tmp_path: Path) -> None:
    with gunicorn(tmp_path, WORKERS="2") as path:
        both: set[str] = set()
        wait_until(lambda: both.update(pids(path, 4)) or len(both) == 2, "two workers")
        first, second = both
        os.kill(int(first), signal.SIGSTOP)
        try:
            assert set(pids(path, 6)) == {second}
        finally:
            os.kill(int(first), signal.SIGCONT)


def test_a_worker_in_which_a_prediction_hangs_is_replaced(path: Path) -> None:
    with connect(path) as connection:
        before = ask(connection, "/pid")
    with connect(path) as hung, pytest.raises((ConnectionError, RemoteDisconnected)):
        ask(hung, "/hung", "POST")
    with connect(path) as connection:
        assert ask(connection, "/pid") != before


def test_a_file_beside_the_socket_says_that_the_service_is_about_to_stop(path: Path) -> None:
    with connect(path) as connection:
        assert ask(connection, "/draining").strip() == b"False"
        Path(f"{path}.draining").touch()
        assert ask(connection, "/draining").strip() == b"True"


def test_answers_arrive_whole_one_after_the_other_on_a_connection(path: Path) -> None:
    with connect(path) as connection:
        assert ask(connection, "/") == BODY
        assert ask(connection, "/file") == BODY
        assert ask(connection, "/") == BODY


@pytest.mark.parametrize(("method", "waits"), [("GET", False), ("HEAD", False), ("OPTIONS", False), ("POST", True)])
def test_only_what_may_be_a_prediction_has_a_place_in_the_queue(path: Path, method: str, waits: bool) -> None:
    with connect(path) as connection:
        send(connection, "/ticket", method)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(2**16), b""))
    assert (b"Ticket(" in answer) == waits
    assert method == "HEAD" or (b"None   " in answer) != waits


def test_many_wait_without_a_thread_and_others_are_answered_meanwhile(path: Path) -> None:
    with contextlib.ExitStack() as stack:
        # Nobody knows yet how long one takes, so all of them may wait.
        waiting = [stack.enter_context(connect(path)) for _ in range(60)]
        for connection in waiting:
            send(connection, "/slow", "POST")
        with connect(path) as connection:
            assert ask(connection, "/") == BODY
        threads = [line for line in _status(path).splitlines() if line.startswith("Threads:")]
        assert int(threads[0].split()[1]) < 20
        for connection in waiting[:2]:
            assert receive(connection).strip() == b"predicted"
        # Now it is known, and almost sixty wait.
        with connect(path) as connection:
            assert ask(connection, "/slow", "POST").strip() == b"refused"


def test_clients_that_come_again_at_once_are_not_refused_as_often(path: Path) -> None:
    answers, has_ended = [], threading.Event()

    def come_again_and_again() -> None:
        with connect(path) as connection:
            while not has_ended.is_set():
                answers.append(ask(connection, "/slow", "POST").strip())

    # Of forty, twenty have a turn within two seconds.
    with ThreadPoolExecutor(40) as pool:
        for _ in range(40):
            pool.submit(come_again_and_again)
        wait_until(lambda: answers.count(b"predicted") >= 40, "forty are predicted")
        has_ended.set()
    # Five for each turn, and those of one second more.
    assert 0 < answers.count(b"refused") < 5 * answers.count(b"predicted") + 100


def _status(path: Path) -> str:
    """/proc's of the worker that listens on the socket `path`."""
    with connect(path) as connection:
        return ask(connection, "/status").decode()


def test_a_worker_that_ends_leaves_what_it_has_not_begun_to_the_next(path: Path) -> None:
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(connect(path)) for _ in range(60)]
        for connection in waiting:
            send(connection, "/slow", "POST")
        assert receive(waiting[0]).strip() == b"predicted"
        arbiter = next(line.split()[1] for line in _status(path).splitlines() if line.startswith("PPid:"))
        os.kill(int(arbiter), signal.SIGHUP)
        answers = [_received(connection) for connection in waiting[1:]]
    # Where there is no answer there is no half of one either: NGINX asks the next worker then.
    assert {answer[:15] for answer in answers} == {b"HTTP/1.1 200 OK", b""}
    assert answers[-1] == b""
    assert answers.count(b"") > 30


def _received(connection: socket.socket) -> bytes:
    """What comes until the other side has ended."""
    try:
        return connection.recv(20)
    except ConnectionResetError:
        return b""


def test_a_connection_that_sends_nothing_takes_no_thread_and_is_closed(path: Path) -> None:
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect(path)) for _ in range(20)]
        with connect(path) as connection:
            assert ask(connection, "/") == BODY
        assert idle[0].recv(1) == b""


def test_a_turn_is_taken_in_the_thread_of_the_one_before_it(path: Path) -> None:
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(connect(path)) for _ in range(20)]
        send(waiting[0], "/slower", "POST")
        for connection in waiting[1:]:
            send(connection, "/thread", "POST")
        assert receive(waiting[0]).strip() == b"predicted"
        assert len({receive(connection) for connection in waiting[1:]}) == 1


@pytest.mark.parametrize("header", ["", "Connection: close\r\n"])
def test_connections_that_ended_leave_their_places_to_others(path: Path, header: str) -> None:
    """A worker of these tests takes in 100 at once."""
    for _ in range(150):
        with connect(path) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: localhost\r\n{header}\r\n".encode())
            assert receive(connection) == BODY


@pytest.mark.parametrize("request_line", [b"GET / HTTP/1.1", b"POST / HTTP/1.1", b"no request at all"])
def test_clients_that_stay_after_their_last_answer_keep_nobody_waiting(path: Path, request_line: bytes) -> None:
    with contextlib.ExitStack() as stack:
        staying = [stack.enter_context(connect(path)) for _ in range(20)]
        for connection in staying:
            connection.sendall(request_line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        for connection in staying:
            receive(connection)
        with connect(path) as connection:
            connection.settimeout(10)
            assert ask(connection, "/") == BODY


def test_requests_that_come_together_on_a_connection_are_answered_in_their_order(path: Path) -> None:
    with connect(path) as connection:
        send(connection, "/", "GET")
        send(connection, "/ticket", "POST")
        assert receive(connection) == BODY
        assert receive(connection).startswith(b"Ticket(")


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
