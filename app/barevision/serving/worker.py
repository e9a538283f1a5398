"""Gunicorn's worker for Barevision: threads whose number the app knows, and answers sent whole or not at all.

Gunicorn sends an answer's header first and its body after it. A worker that dies in between leaves NGINX with half an
answer, which NGINX can't ask for again. Sent in one piece, an answer that was not sent can be had from the next worker.

NGINX also takes a connection for dead that closes before it could send the whole request: a refusal, which needs no
body, is sent once the body is there.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

from gunicorn.http import Request
from gunicorn.workers.gthread import TConn, ThreadWorker

#: Where the app finds the number of threads that handle requests.
THREADS = "barevision.threads"
# NGINX has the whole body before it asks, so the rest takes milliseconds.
_DRAIN_SECONDS = 5
_DRAIN_BYTES = 2**30


class Worker(ThreadWorker):
    """Gunicorn's gthread worker, for the setting `worker_class`. It holds an answer in memory until it is complete."""

    def load_wsgi(self) -> None:
        super().load_wsgi()
        app = self.wsgi

        def told(environ: dict, start_response: Callable) -> Iterable[bytes]:
            environ[THREADS] = self.cfg.threads
            return app(environ, start_response)

        self.wsgi = told

    def handle_quit(self, sig: int, frame: object) -> None:
        # Gunicorn's own raises SystemExit wherever the main thread is. Amid the start of a thread, that thread then
        # keeps Python from ending until Gunicorn's patience does.
        self.handle_exit(sig, frame)

    def handle_request(self, req: Request, conn: TConn) -> bool:
        sock = conn.sock
        conn.sock = _WholeAnswer(sock)
        try:
            goes_on = super().handle_request(req, conn)
            conn.parser.finish_body(time.monotonic() + _DRAIN_SECONDS, _DRAIN_BYTES)
            conn.sock.flush()
            return goes_on
        finally:
            conn.sock = sock


class _WholeAnswer:
    """A connected socket that keeps what `sendall` is given until `flush`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendall(self, data: bytes) -> None:
        self._parts.append(data)

    def sendfile(self, *arguments: Any, **named: Any) -> int:
        self.flush()
        return self._sock.sendfile(*arguments, **named)

    def flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts:
            self._sock.sendall(b"".join(parts))
