"""The door to the stand-in: an HTTPS proxy that takes itself for Google.

Clients need no change. They are told of it by HTTPS_PROXY, and of its throwaway authority by REQUESTS_CA_BUNDLE.
"""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from tests.gce.standin.compute import PROJECT, Compute
from tests.gce.standin.failures import CutError, FailureError

API_HOSTS = ("compute.googleapis.com", "www.googleapis.com")
TOKEN_HOST = "oauth2.googleapis.com"
TOKEN_URL = f"https://{TOKEN_HOST}/token"
SCOPES = {f"https://www.googleapis.com/auth/{name}" for name in ("compute", "cloud-platform")}
ACCOUNT = "deployer@demo-project.iam.gserviceaccount.com"


class GrantError(Exception):
    """No token for this."""

    @property
    def body(self) -> dict[str, str]:
        """The answer, in the form of OAuth (RFC 6749), which isn't that of the API."""
        return {"error": "invalid_grant", "error_description": str(self)}


class Door:
    """Serves a Compute until it is closed. `expired` makes every token one that is no longer valid."""

    def __init__(self, compute: Compute, folder: Path) -> None:
        self.compute = compute
        self.folder = folder
        self.expired = False
        self.tokens = {f"ya29.{secrets.token_hex(16)}"}
        self.key = _account_key()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "authority.pem")
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*API_HOSTS, TOKEN_HOST).configure_cert(self.tls)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.door = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        """Ends it, and waits for what is going on."""
        self.compute.close()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that lead a client here, with an access token."""
        return {**self.environment_without_login, "GCP_ACCESS_TOKEN": next(iter(self.tokens))}

    @property
    def environment_without_login(self) -> dict[str, str]:
        """The same without a token, and without a way to ask the machine for one."""
        return {
            "HTTPS_PROXY": f"http://127.0.0.1:{self._server.server_port}",
            "NO_PROXY": "",
            "REQUESTS_CA_BUNDLE": str(self.folder / "authority.pem"),
            "GCP_PROJECT": PROJECT,
            "NO_GCE_CHECK": "true",
        }

    def service_account_file(self) -> Path:
        """The key of a service account that may log in."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        key = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "1",
            "private_key": pem.decode(),
            "client_email": ACCOUNT,
            "token_uri": TOKEN_URL,
        }
        path = self.folder / "service-account.json"
        path.write_text(json.dumps(key))
        return path

    def hand_out_token(self, form: dict[str, list[str]]) -> dict[str, Any]:
        """A token for a signed assertion (RFC 7523).

        :raises GrantError: for one that isn't right.
        """
        public = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        try:
            if form["grant_type"] != ["urn:ietf:params:oauth:grant-type:jwt-bearer"]:
                raise ValueError("unsupported grant type")
            claims = jwt.decode(form["assertion"][0], {"1": public.decode()}, audience=TOKEN_URL)
            if claims["iss"] != ACCOUNT or not SCOPES & set(claims["scope"].split()):
                raise ValueError("wrong issuer or scope")
        except (KeyError, ValueError) as error:
            raise GrantError(str(error)) from None
        token = f"ya29.{secrets.token_hex(16)}"
        self.tokens.add(token)
        return {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}

    def require_login(self, header: str) -> None:
        """401 for a token that isn't known, or not any more."""
        kind, _, token = header.partition(" ")
        if kind != "Bearer" or token not in self.tokens or self.expired:
            raise FailureError(401, "authError", "Request had invalid authentication credentials.")


@cache
def _account_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@contextmanager
def opened(compute: Compute, folder: Path) -> Iterator[Door]:
    """A door to `compute`, closed at the end; `folder` is for its files."""
    door = Door(compute, folder)
    try:
        yield door
    finally:
        door.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    door: Door

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remembers the connection, for hang_up."""
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forgets it."""
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def replace(self, old: socket.socket, new: socket.socket) -> None:
        """A connection goes on as another one: TLS takes the socket over."""
        with self._lock:
            self._connections.discard(old)
            self._connections.add(new)

    def hang_up(self) -> None:
        """Ends what clients keep open, so that the threads that listen to them end."""
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up in the middle is its own business."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    host = ""

    def log_message(self, *args: Any) -> None:
        """Quiet: Compute.calls has it all."""

    def do_CONNECT(self) -> None:
        host, _, port = self.path.partition(":")
        if host not in (*API_HOSTS, TOKEN_HOST) or port != "443":
            self.send_error(403, "only to Google")
            return
        self.send_response(200)
        self.end_headers()
        self.host = host
        try:
            secure = self.server.door.tls.wrap_socket(self.connection, server_side=True, do_handshake_on_connect=False)
        except OSError:
            self.close_connection = True
            return
        self.server.replace(self.connection, secure)
        self.connection = secure
        try:
            self._serve()
        finally:
            self.server.shutdown_request(secure)
        self.close_connection = True

    def _serve(self) -> None:
        try:
            self.connection.do_handshake()
        except OSError:
            return
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb")
        self.close_connection = False
        while not self.close_connection:
            self.handle_one_request()
        self.rfile.close()
        self.wfile.close()

    def _answer(self) -> None:
        try:
            if "Transfer-Encoding" in self.headers:
                self.close_connection = True
                raise FailureError(411, "required", "A Content-Length is required.")
            status, document = self._document(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        except GrantError as refusal:
            status, document = 400, refusal.body
        except FailureError as failure:
            status, document = failure.status, failure.body
        except CutError:
            self.close_connection = True
            return
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _document(self, data: bytes) -> tuple[int, Any]:
        door, url = self.server.door, urlsplit(self.path)
        if self.host == TOKEN_HOST and (self.command, url.path) == ("POST", "/token"):
            return 200, door.hand_out_token(parse_qs(data.decode()))
        if self.host not in API_HOSTS or not url.path.startswith("/compute/v1/"):
            raise FailureError(404, "notFound", f"{self.host}{url.path} was not found on this server.")
        door.require_login(self.headers.get("Authorization", ""))
        path = unquote(url.path.removeprefix("/compute/v1/"))
        try:
            body = json.loads(data) if data else None
        except ValueError:
            raise FailureError(400, "parseError", "Invalid JSON payload received.") from None
        given = parse_qsl(url.query, keep_blank_values=True)
        if len(dict(given)) < len(given):
            raise FailureError(400, "invalid", "Invalid JSON payload received. A parameter is repeated.")
        return door.compute.answer(self.command, path, dict(given), body)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()
