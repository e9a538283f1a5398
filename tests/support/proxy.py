"""A web proxy as in a company's network: it wants a name and a password, and notes what it was asked for."""

from __future__ import annotations

import base64
import http.client
import shutil
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.support.serving import running

USER = "clerk"
# As the address of a proxy has to have it: %40 is @.
PASSWORD_IN_ADDRESS = "s3cret%40"
_CREDENTIALS = "Basic " + base64.b64encode(b"clerk:s3cret@").decode()
# What is meant for one connection only.
_OWN_HEADERS = ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "proxy-authorization")


@dataclass
class Proxy:
    """A running proxy on `address`.

    :param asked: hosts that it was asked for, with the way: "GET example.org:80", "CONNECT example.org:443".
    :param refused: how many requests had no password, or a wrong one.
    """

    address: tuple[str, int]
    asked: set[str] = field(default_factory=set)
    refused: int = 0

    @property
    def url(self) -> str:
        """What clients are given, with name and password."""
        return f"http://{USER}:{PASSWORD_IN_ADDRESS}@{self.address[0]}:{self.address[1]}"


@contextmanager
def proxy(listens_on: str = "127.0.0.1", hosts: Mapping[str, tuple[str, int]] | None = None) -> Iterator[Proxy]:
    """A proxy at the address `listens_on`, until the end.

    :param hosts: where some hosts really are; all others are looked up.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.scheme != "http" or not parts.hostname:
                self.send_error(400, "a proxy is asked for a whole address")
                return
            if not self._may_pass(parts.hostname, parts.port or 80):
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN_HEADERS}
            upstream = http.client.HTTPConnection(*where(parts.hostname, parts.port or 80), timeout=60)
            try:
                upstream.request("GET", parts._replace(scheme="", netloc="").geturl() or "/", headers=headers)
                answer = upstream.getresponse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _OWN_HEADERS:
                        self.send_header(name, value)
                self.end_headers()
                shutil.copyfileobj(answer, self.wfile)
            finally:
                upstream.close()

        def do_CONNECT(self) -> None:
            host, _, port = self.path.rpartition(":")
            if not self._may_pass(host, int(port)):
                return
            try:
                upstream = socket.create_connection(where(host, int(port)), timeout=60)
            except OSError as error:
                self.send_error(502, f"{host} can't be reached: {error}")
                return
            self.send_response(200)
            self.end_headers()
            with upstream:
                back = threading.Thread(target=_copy, args=(upstream, self.connection))
                back.start()
                _copy(self.connection, upstream)
                back.join()
            self.close_connection = True

        def _may_pass(self, host: str, port: int) -> bool:
            if self.headers["Proxy-Authorization"] != _CREDENTIALS:
                running_proxy.refused += 1
                self.send_response(407)
                self.send_header("Proxy-Authenticate", 'Basic realm="company"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return False
            running_proxy.asked.add(f"{self.command} {host}:{port}")
            return True

        def log_message(self, *args: object) -> None: ...

    def where(host: str, port: int) -> tuple[str, int]:
        return (hosts or {}).get(host, (host, port))

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            """Clients may go before they have been answered."""

    server = Server((listens_on, 0), Handler)
    running_proxy = Proxy((listens_on, server.server_port))
    with running(server):
        yield running_proxy


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Passes on what comes from `source` until its end, which is passed on too."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        # One side has gone: the other one has nothing to wait for.
        for end in (source, target):
            end.close()
