"""The rendered site in a real NGINX, in front of a service that isn't the app: what NGINX itself does."""

from __future__ import annotations

import json
import shutil
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import requests

from tests.roles.rendering import Site
from tests.support.nginx import write_nginx_conf
from tests.support.waiting import wait_until

_LIMIT = 200_000
_NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin")

pytestmark = pytest.mark.skipif(not _NGINX, reason="nginx is not installed here")


class _Handler(BaseHTTPRequestHandler):
    """Answers with the request's headers, or fails as the path says."""

    server: _Backend

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.seen.append((self.path, len(body)))
        if self.path == "/slow":
            self.server.goes_on.wait(30)
        if self.path == "/dies" and len(self.server.seen) == 1:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status = int(self.path[1:]) if self.path[1:].isdigit() else 200
        answer = json.dumps({"mine": status, **self.headers}).encode()
        self.send_response(status)
        self.send_header("X-Request-ID", self.headers["X-Request-ID"])
        self.send_header("Content-Type", "application/problem+json" if status >= 400 else "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_OPTIONS = do_POST  # noqa: N815 (the names are the library's)

    def log_message(self, *args: object) -> None: ...

    def address_string(self) -> str:
        return ""


class _Backend(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    seen: list[tuple[str, int]]
    goes_on: threading.Event


@dataclass
class Nginx:
    """A running NGINX. `seen` lists the requests that came through, as (path, bytes of the body)."""

    address: tuple[str, int]
    access_log: Path
    maintenance: Path
    backend: _Backend | None = None
    seen: list[tuple[str, int]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    def talk(self, request: bytes) -> tuple[int, dict]:
        """Status and problem document that NGINX answers to `request`, byte for byte."""
        with socket.create_connection(self.address, 10) as connection:
            connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"Content-Type: application/problem+json" in head, answer
        return int(head.split()[1]), json.loads(body)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def nginx(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Nginx]:
    """The site with a small body limit; without a service behind it if the test is marked so by its name."""
    upstream, port = tmp_path / "upstream", free_port()
    own = {**getattr(request, "param", {})}
    replaced = own.pop("replaced", {})
    site = Site(
        app_max_body_bytes=_LIMIT, gunicorn_socket=str(upstream), nginx_port=port, nginx_client_timeout=5, **own
    )
    text = site.render("nginx", "etc/nginx/sites-available/barevision")
    for number, other in replaced.items():
        assert number in text
        text = text.replace(number, other)
    conf = write_nginx_conf(tmp_path, text)
    (tmp_path / "barevision.d").mkdir()
    (tmp_path / "barevision.d" / "mine.conf").write_text("location = /own { return 200 mine; }")
    command = [_NGINX, "-c", str(conf)]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr

    running = Nginx(("127.0.0.1", port), tmp_path / "access.log", tmp_path / "barevision.maintenance.json")
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        if "without_service" not in request.node.name:
            running.backend = _Backend(str(upstream), _Handler)
            running.backend.seen, running.backend.goes_on = running.seen, threading.Event()
            threading.Thread(target=running.backend.serve_forever, daemon=True).start()

        def listens() -> bool:
            assert process.poll() is None, process.stderr.read()
            with socket.socket() as probe:
                return probe.connect_ex(running.address) == 0

        wait_until(listens, f"NGINX listens on {running.address}")
        yield running
    finally:
        process.terminate()
        process.wait(10)
        process.stderr.close()
        if running.backend:
            running.backend.shutdown()
            running.backend.server_close()


def test_what_the_app_answers_passes_unchanged(nginx: Nginx) -> None:
    for status in (200, 400, 404, 413, 422, 500, 502, 503):
        answer = requests.post(f"{nginx.url}/{status}", data=b"x", timeout=10)

        assert (answer.status_code, answer.json()["mine"]) == (status, status)
        # A busy service is not asked a second time.
        assert nginx.seen.count((f"/{status}", 1)) == 1


def test_nginx_listens_on_ipv6_as_well(nginx: Nginx) -> None:
    assert requests.get(f"http://[::1]:{nginx.address[1]}", timeout=10).status_code == 200


def test_lines_of_the_users_own_are_part_of_the_site(nginx: Nginx) -> None:
    answer = requests.get(f"{nginx.url}/own", timeout=10)

    assert answer.text == "mine"
    assert answer.headers["X-Request-ID"]
    assert nginx.seen == []


def test_a_body_up_to_the_limit_passes(nginx: Nginx) -> None:
    assert requests.post(f"{nginx.url}/predict", data=b"x" * _LIMIT, timeout=10).status_code == 200
    assert nginx.seen == [("/predict", _LIMIT)]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_larger_body_is_refused_at_the_door(nginx: Nginx, chunked: bool) -> None:
    body = b"x" * (_LIMIT + 1)

    answer = requests.post(f"{nginx.url}/predict", data=iter([body]) if chunked else body, timeout=10)

    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"] == f"the body is larger than {_LIMIT} bytes"
    assert nginx.seen == []


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (b"GET / HTTP/9.1\r\nHost: x\r\n\r\n", 505),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\nConnection: close\r\n\r\n", 501),
        (b"TRACE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 501),
        (b"GET /.problem HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
    ],
    ids=["garbage", "no host", "version", "long address", "large header", "encoding", "trace", "internal"],
)
def test_what_is_no_request_gets_a_problem_document(nginx: Nginx, request_line: bytes, status: int) -> None:
    found, document = nginx.talk(request_line)

    assert (found, document["status"], document["type"]) == (status, status, "about:blank")
    assert nginx.seen == []


def test_without_service_a_client_is_told_to_come_back(nginx: Nginx) -> None:
    answer = requests.get(f"{nginx.url}/readyz", timeout=10)

    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json()["detail"] == "the detector is not running"


_ONE = {"limit_conn barevision 500;": "limit_conn barevision 1;"}


@pytest.mark.parametrize("nginx", [{"replaced": _ONE}], indirect=True)
def test_more_predictions_than_may_wait_are_refused_unread(nginx: Nginx) -> None:
    def ask(method: str, path: str, source: str = "127.0.0.2") -> tuple[int, str | None, bytes]:
        with closing(HTTPConnection(*nginx.address, timeout=10, source_address=(source, 0))) as connection:
            connection.request(method, path, b"x" * 1000 if method == "POST" else None)
            answer = connection.getresponse()
            return answer.status, answer.headers["Retry-After"], answer.read()

    with ThreadPoolExecutor() as pool:
        first = pool.submit(ask, "POST", "/slow")
        wait_until(lambda: nginx.seen, "the first one came through")
        status, retry_after, body = ask("POST", "/predict")
        assert (status, retry_after) == (503, "10")
        assert json.loads(body)["detail"] == "500 requests are here already"
        assert len(nginx.seen) == 1
        # Health checks, and the machine itself, are no crowd.
        assert ask("GET", "/healthz")[0] == 200
        assert ask("POST", "/predict", source="127.0.0.1")[0] == 200
        nginx.backend.goes_on.set()
        assert first.result()[0] == 200
    assert ask("POST", "/predict")[0] == 200


@pytest.mark.parametrize(
    "nginx", [{"replaced": _ONE | {"rate=1000r/s": "rate=1r/m", "delay=1000": "delay=1"}}], indirect=True
)
def test_who_is_refused_and_comes_again_at_once_is_held_back(nginx: Nginx) -> None:
    def ask(method: str, path: str, timeout: float = 10) -> int:
        with closing(HTTPConnection(*nginx.address, timeout=timeout, source_address=("127.0.0.2", 0))) as connection:
            connection.request(method, path, b"x" * 1000 if method == "POST" else None)
            return connection.getresponse().status

    with ThreadPoolExecutor() as pool:
        first = pool.submit(ask, "POST", "/slow")
        wait_until(lambda: nginx.seen, "the first one came through")
        assert [ask("POST", "/predict") for _ in range(2)] == [503, 503]
        with pytest.raises(TimeoutError):
            ask("POST", "/predict", timeout=0.5)
        # What else NGINX answers itself, and what the service answers, is not.
        assert [ask("GET", "/metrics"), ask("GET", "/healthz")] == [403, 200]
        nginx.backend.goes_on.set()
        assert first.result() == 200


_OURS = "https://app.example.com"


@pytest.mark.parametrize("nginx", [{"app_cors_origins": ["*"]}], indirect=True)
def test_in_maintenance_strangers_are_told_why(nginx: Nginx) -> None:
    problem = json.dumps({"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": "at noon"})

    def ask(method: str, path: str, source: str = "127.0.0.2") -> tuple[int, dict, bytes]:
        with closing(HTTPConnection(*nginx.address, timeout=10, source_address=(source, 0))) as connection:
            connection.request(method, path, b"x" * 1000 if method == "POST" else None, {"Origin": _OURS})
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()

    nginx.maintenance.write_text(problem)
    for method, path in (("POST", "/predict"), ("GET", "/readyz"), ("GET", "/")):
        status, headers, body = ask(method, path)
        assert (status, body.decode()) == (503, problem)
        assert headers["Content-Type"] == "application/problem+json"
        assert headers["Retry-After"] == "60"
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert len(headers["X-Request-ID"]) == 32
    assert ask("GET", "/.maintenance")[0] == 404
    assert nginx.seen == []
    assert ask("GET", "/healthz")[0] == 200
    assert ask("POST", "/predict", "127.0.0.1")[0] == 200
    nginx.maintenance.unlink()
    assert ask("POST", "/predict")[0] == 200


def cors(answer: requests.Response) -> dict[str, str]:
    """The headers of `answer` that are about pages of other sites."""
    return {name: value for name, value in answer.headers.items() if name == "Vary" or name.startswith("Access-Contr")}


@pytest.mark.parametrize("nginx", [{"app_cors_origins": ["https://first.example.com", _OURS]}], indirect=True)
def test_without_service_a_page_of_an_allowed_origin_reads_so(nginx: Nginx) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    preflight = requests.options(f"{nginx.url}/predict", headers={"Origin": _OURS, **asked}, timeout=10)
    assert preflight.status_code == 204
    assert cors(preflight) == {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": _OURS,
        "Access-Control-Allow-Methods": "GET, OPTIONS, POST",
        "Access-Control-Allow-Headers": "content-type",
        "Access-Control-Max-Age": "7200",
    }
    for body, status in ((b"x", 503), (b"x" * (_LIMIT + 1), 413)):
        answer = requests.post(f"{nginx.url}/predict", data=body, headers={"Origin": _OURS}, timeout=10)
        assert (answer.status_code, answer.json()["status"]) == (status, status)
        assert cors(answer) == {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": _OURS,
            "Access-Control-Expose-Headers": "X-Request-ID, Retry-After",
        }
    for other in ({"Origin": "https://other.example.com"}, {}):
        assert requests.options(f"{nginx.url}/predict", headers={**other, **asked}, timeout=10).status_code == 503
        answer = requests.post(f"{nginx.url}/predict", data=b"x", headers=other, timeout=10)
        assert cors(answer) == {"Vary": "Origin"}


@pytest.mark.parametrize("nginx", [{"app_cors_origins": ["*"]}], indirect=True)
def test_all_origins_may_read_what_nginx_answers_itself(nginx: Nginx) -> None:
    answer = requests.post(f"{nginx.url}/predict", data=b"x" * (_LIMIT + 1), headers={"Origin": _OURS}, timeout=10)
    assert answer.status_code == 413
    assert (answer.headers["Access-Control-Allow-Origin"], answer.headers.get("Vary")) == ("*", None)


def test_no_other_origin_is_answered_unless_set(nginx: Nginx) -> None:
    asked = {"Origin": _OURS, "Access-Control-Request-Method": "POST"}
    requests.options(f"{nginx.url}/predict", headers=asked, timeout=10)
    assert nginx.seen == [("/predict", 0)]
    answer = requests.post(f"{nginx.url}/predict", data=b"x" * (_LIMIT + 1), headers=asked, timeout=10)
    assert (answer.status_code, cors(answer)) == (413, {})


def test_a_request_whose_server_dies_is_sent_again(nginx: Nginx) -> None:
    answer = requests.post(f"{nginx.url}/dies", data=b"x" * 1000, timeout=10)

    assert answer.status_code == 200
    assert nginx.seen == [("/dies", 1000), ("/dies", 1000)]


def test_the_request_id_is_passed_on_and_answered(nginx: Nginx) -> None:
    given = requests.get(nginx.url, headers={"X-Request-ID": "mine-1"}, timeout=10)
    harmful = requests.get(nginx.url, headers={"X-Request-ID": 'a" b'}, timeout=10)
    refused = requests.post(nginx.url, data=b"x" * (_LIMIT + 1), headers={"X-Request-ID": "mine-2"}, timeout=10)

    assert given.headers["X-Request-ID"] == given.json()["X-Request-ID"] == "mine-1"
    assert harmful.headers["X-Request-ID"] == harmful.json()["X-Request-ID"]
    assert len(harmful.headers["X-Request-ID"]) == 32
    assert refused.headers["X-Request-ID"] == "mine-2"


def test_a_long_id_of_a_client_is_kept_up_to_the_apps_limit(nginx: Nginx) -> None:
    assert requests.get(nginx.url, headers={"X-Request-ID": "a" * 128}, timeout=10).json()["X-Request-ID"] == "a" * 128
    assert len(requests.get(nginx.url, headers={"X-Request-ID": "a" * 129}, timeout=10).json()["X-Request-ID"]) == 32


def test_the_log_has_a_line_a_request_under_its_id_and_no_query(nginx: Nginx) -> None:
    requests.post(
        f'{nginx.url}/predict"?api_key=secret', data=b"x" * 99, headers={"X-Request-ID": "mine-3"}, timeout=10
    )
    requests.post(nginx.url, data=b"x" * (_LIMIT + 1), headers={"X-Request-ID": "mine-4"}, timeout=10)
    wait_until(lambda: len(nginx.access_log.read_text().splitlines()) == 2, "two lines in the log")

    passed, refused = (json.loads(line) for line in nginx.access_log.read_text().splitlines())

    assert (passed["request_id"], passed["path"], passed["status"]) == ("mine-3", "/predict%22", 200)
    assert passed["bytes_in"] > 99
    assert float(passed["app_seconds"]) >= 0
    assert (refused["request_id"], refused["path"], refused["status"]) == ("mine-4", "/", 413)
    assert "secret" not in nginx.access_log.read_text()


def test_this_machine_may_read_the_metrics(nginx: Nginx) -> None:
    answer = requests.get(f"{nginx.url}/metrics", timeout=10)
    assert answer.status_code == 200
    assert answer.json()["X-Forwarded-For"] == "127.0.0.1"


@pytest.mark.parametrize(
    "nginx", [{"nginx_metrics_sources": ["192.0.2.0/24"]}, {"nginx_metrics_sources": []}], indirect=True
)
def test_others_may_not_read_the_metrics(nginx: Nginx) -> None:
    for path in ("/metrics", "//metrics", "/x/../metrics", "/%6Detrics"):
        status, document = nginx.talk(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert (status, document["status"]) == (403, 403), path
    assert nginx.seen == []
    assert requests.get(f"{nginx.url}/predict", timeout=10).status_code == 200


def test_the_app_learns_who_asked_and_nobody_learns_the_version(nginx: Nginx) -> None:
    answer = requests.get(nginx.url, headers={"X-Forwarded-For": "6.6.6.6"}, timeout=10)

    assert answer.json()["X-Forwarded-For"] == "127.0.0.1"
    assert answer.json()["X-Forwarded-Proto"] == "http"
    assert answer.headers["Server"] == "nginx"


@pytest.mark.parametrize("nginx", [{"nginx_most_a_second": 2}], indirect=True)
def test_an_address_and_a_key_have_their_share_of_predictions(nginx: Nginx) -> None:
    """Two a second, of which two more may come at once."""

    def ask(source: str, method: str = "POST", **headers: str) -> tuple[int, dict, bytes]:
        with closing(HTTPConnection(*nginx.address, timeout=10, source_address=(source, 0))) as connection:
            connection.request(method, "/predict", b"x", headers)
            response = connection.getresponse()
            return response.status, dict(response.headers), response.read()

    statuses = [ask("127.0.0.2")[0] for _ in range(6)]
    assert statuses[:3] == [200] * 3
    assert 429 in statuses
    _, headers, body = next(answer for answer in iter(lambda: ask("127.0.0.2"), None) if answer[0] == 429)
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Retry-After"] == "1"
    assert json.loads(body)["detail"] == "one address or one key may ask for 2 predictions a second"
    # Another address has its own, and so has what is no prediction; the machine itself has no bound.
    assert ask("127.0.0.3")[0] == 200
    assert [ask("127.0.0.2", "GET")[0] for _ in range(6)] == [200] * 6
    assert [ask("127.0.0.1")[0] for _ in range(6)] == [200] * 6
    # A key's share is for all of its addresses, in whichever header it comes.
    keys = [{"X-API-Key": "k"}, {"Authorization": "Bearer k"}]
    assert 429 in [ask(f"127.0.0.{number}", **keys[number % 2])[0] for number in range(10, 20)]
    assert ask("127.0.0.30", **{"X-API-Key": "other"})[0] == 200
