"""Gunicorn's worker for Barevision: it lets requests wait without a thread, and sends an answer whole or not at all.

Gunicorn gives each request a thread as it comes, so that health checks stand in a queue with predictions. Here a
request that has something to predict waits for its turn without a thread. Hundreds may wait: each is an open
connection, whose body is not read yet. It keeps its turn until its answer is sent, so that no more threads run than
there are turns: a few more of them took cores from the inferences, and a fifth fewer pictures a second were answered.
The next request has the thread of the one whose turn it takes, whose core and caches are warm. What would wait too long
is refused by another thread, and two more answer everything else. Where refusals are many, they wait, too.

Gunicorn sends an answer's headers first and its body after them. If a worker dies in between, NGINX has half an answer,
which it can't ask for again. An answer that is sent in one piece is either complete or not begun; if it is not
begun, NGINX asks the next worker.

NGINX also takes a connection for dead if it is closed before NGINX could send the whole request. So the app's refusals,
which need no body, are sent only once the body has arrived.

Gunicorn's poller, which takes new connections in, waits up to two seconds for each client to close after its last
answer. Here the thread that answered ends the connection, and only one whose client may still be sending is waited
for: by the poller, which takes others in meanwhile.

Where a network is so fast that Python's lock would hold requests up, there are several workers. All listen on one
socket, of which any of them may take the next connection: the one that has least to do does.

A prediction that never returns can't be ended in the process, so the worker ends itself. Gunicorn starts another, and
NGINX asks that one for what the old one had not answered.

What Gunicorn refuses itself, because it is no request or one with too large a header, is answered in the app's form.

This depends on Gunicorn 27's internals: `accept`, `set_accept_enabled`, `enqueue_req`, `finish_request`,
`wait_for_and_dispatch_events`, `nr_conns`, `pending_conns`, `method_queue`, `handle_request`, `handle_error`,
`TConn.data_ready`, `TConn.sock`, `TConn.parser.unreader`, `TConn.parser.finish_body`.
"""

from __future__ import annotations

import contextlib
import http
import json
import logging
import os
import re
import selectors
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from gunicorn.http import Request
from gunicorn.workers.gthread import DEFAULT_WORKER_DATA_TIMEOUT, TConn, ThreadWorker

from barevision.processes import Process

#: The key in a request's environ of its place in the queue before the engine.
TICKET = "barevision.ticket"
# GET, HEAD and OPTIONS. What has not sent its first letter yet is not taken in.
_QUICK_METHODS = (b"G", b"H", b"O", b"")
# NGINX has the whole body before it connects, so the rest of a body arrives in milliseconds.
_DRAIN_SECONDS = 5
_DRAIN_BYTES = 2**30
# What a connection takes at once, whoever reads at the other end.
_SMALL_ANSWER = 64 * 1024
# Gunicorn quotes what it could not read.
_DETAIL_CHARACTERS = 200

# A worker that can't load while others can has this time before the next one tries.
_SECONDS_TO_NEXT_TRY = 5.0
# How often the worker looks whether predictions go on, in seconds.
_LOOK_SECONDS = 1.0
# Not 3 or 4, at which Gunicorn gives up.
_EXIT = 1

_log = logging.getLogger(__name__)
_process: Process | None = None


def current_process() -> Process | None:
    """The place among others of the worker that runs here, for the app that it loads; None if it has none."""
    return _process


class Worker(ThreadWorker):
    """Gunicorn's gthread worker, for the setting `worker_class`. It holds an answer in memory until it is complete.

    The app says in `extensions["barevision"]` who may come in (api/admission.py) and whether predictions go on
    (api/readiness.py). Gunicorn's own threads, as many as its setting `threads` says, answer what is no prediction.

    :ivar process: its place among the workers, which gunicorn_conf.py gives it before the fork.
    """

    process: Process

    def load_wsgi(self) -> None:
        global _process
        _process = self.process
        try:
            super().load_wsgi()
        except Exception:
            if not any(other.takes_connections for other in self.process.others()):
                raise
            # Gunicorn gives all up if a worker can't load. Those that could go on.
            _log.exception("a worker can't load the app; others have, and another one tries it in some seconds")
            time.sleep(_SECONDS_TO_NEXT_TRY)
            os._exit(_EXIT)
        self.process.numbers.pid = os.getpid()
        app = self.wsgi
        self._admission = app.extensions["barevision"].admission
        self._predictions = ThreadPoolExecutor(self._admission.threads, thread_name_prefix="prediction")
        self._refusals = ThreadPoolExecutor(2, thread_name_prefix="refusal")
        # Those whose turn has not come.
        self._waiting: set[TConn] = set()
        self._thread = _Thread()
        # Those that other threads ended, until the poller's thread, which alone counts connections, has counted them.
        self._closed: deque[TConn] = deque()
        self._has_ended = False

        def app_with_ticket(environ: dict, start_response: Callable) -> Iterable[bytes]:
            environ[TICKET] = environ["gunicorn.socket"].ticket
            return app(environ, start_response)

        self.wsgi = app_with_ticket
        readiness = app.extensions["barevision"].readiness
        address = self.sockets[0].getsockname()
        if isinstance(address, str):
            # Whoever is about to stop the service makes this file: barevision.service, for a balancer to notice.
            readiness.is_draining = Path(f"{address}.draining").exists
        threading.Thread(target=self._watch, args=(readiness,), name="watch", daemon=True).start()

    def _watch(self, readiness: Any) -> None:
        """Ends the process once a prediction hangs."""
        while readiness.look():
            time.sleep(_LOOK_SECONDS)
        _log.critical("the worker ends, because %s", readiness.finding)
        os._exit(_EXIT)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Begins or ceases to take new connections in."""
        super().set_accept_enabled(enabled)
        self.process.numbers.takes_connections = enabled

    def accept(self, listener: socket.socket) -> None:
        """Takes a new connection in. One that would be answered sooner has the time to do so first."""
        if moment := self._admission.moment_for_others():
            time.sleep(moment)
        super().accept(listener)

    def enqueue_req(self, conn: TConn) -> None:
        """Gives a connection to whoever answers its next request, or waits for the request without a thread."""
        conn.ticket = None
        begin = _first_letter(conn)
        # Whether nothing more is expected of the client.
        conn.is_read = begin == b""
        if begin is None:
            conn.timeout = time.monotonic() + DEFAULT_WORKER_DATA_TIMEOUT
            self.pending_conns.append(conn)
            when_readable = partial(self.on_pending_socket_readable, conn)
            self.poller.register(conn.sock, selectors.EVENT_READ, when_readable)
            return
        # Gunicorn would make a poller of its own to see whether a letter has arrived.
        conn.data_ready = True
        if begin in _QUICK_METHODS:
            self._submit(self.tpool, self._answer, conn)
            return
        conn.ticket = self._admission.arrive()
        if conn.ticket.refusal:
            self._submit(self._refusals, self._refuse, conn)
            return
        self._waiting.add(conn)
        self._admission.call(conn.ticket, partial(self._begin_turn, conn))

    def _begin_turn(self, conn: TConn) -> None:
        self._waiting.discard(conn)
        if self._thread.ends_turn:
            self._thread.next = conn
        else:
            self._submit(self._predictions, self._answer, conn)

    def _submit(self, pool: ThreadPoolExecutor, answer: Callable[[TConn], None], conn: TConn) -> None:
        # Pools take nothing any more once the worker has ended.
        with contextlib.suppress(RuntimeError):
            pool.submit(answer, conn)

    def _refuse(self, conn: TConn) -> None:
        time.sleep(self._admission.hold_back(conn.ticket))
        self._answer(conn)

    def _answer(self, conn: TConn | None) -> None:
        """Answers the connection's request, and then one by one those whose turn begins as the last one's ends."""
        while conn is not None and not self._has_ended:
            try:
                keeps_alive = self.handle(conn)
            # What the app raises to end a process must not take a turn with it.
            except BaseException:
                _log.exception("a connection failed")
                keeps_alive = False
            self._thread.next = None
            if conn.ticket is not None:
                # Threads that refuse are kept for that.
                self._thread.ends_turn = not conn.ticket.refusal
                self._admission.leave(conn.ticket)
                self._thread.ends_turn = False
            self._finish(conn, keeps_alive)
            conn = self._thread.next

    def _finish(self, conn: TConn, keeps_alive: object) -> None:
        if self._has_ended:
            return
        if keeps_alive:
            # Gunicorn's poller waits for the next request. It wants the answer's end as a future.
            future = Future()
            future.set_result(keeps_alive)
            self.method_queue.defer(self.finish_request, conn, future)
        elif conn.is_read and not _first_letter(conn):
            self._close(conn)
        else:
            self.method_queue.defer(self._linger, conn)

    def _close(self, conn: TConn) -> None:
        conn.close()
        self._closed.append(conn)
        # Nothing waits for the count, except where no connection more is taken in before one has ended.
        if not (self.alive and self._accepting):
            self.method_queue.defer(lambda: None)

    def _linger(self, conn: TConn) -> None:
        """Waits for the client's end without a thread, but not for long.

        A connection that is closed while its client sends takes the answer from it, which says what is wrong.
        """
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
        except OSError:
            self._close(conn)
            return
        conn.timeout = time.monotonic() + DEFAULT_WORKER_DATA_TIMEOUT
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))

    def _drain(self, conn: TConn, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if sock.recv(_SMALL_ANSWER):
                return
        self.poller.unregister(sock)
        self.pending_conns.remove(conn)
        self._close(conn)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Waits for connections, requests and what other threads have to say, at most `timeout` seconds."""
        super().wait_for_and_dispatch_events(timeout)
        while self._closed:
            self._closed.popleft()
            self.nr_conns -= 1

    def run(self) -> None:
        try:
            super().run()
        finally:
            # What has not begun is not begun any more: its connection ends, and NGINX asks the next worker.
            self._has_ended = True
            for pool in (self._predictions, self._refusals):
                pool.shutdown(wait=False, cancel_futures=True)
            for conn in list(self._waiting):
                conn.close()

    def handle_quit(self, sig: int, frame: object) -> None:
        """Ends the worker on SIGINT and SIGQUIT as SIGTERM does, once its requests are answered."""
        # Gunicorn's own handle_quit() raises SystemExit in the main thread, wherever that is. If it is just starting
        # another thread, Python then waits for that thread for good, and the worker ends only when Gunicorn kills it.
        self.handle_exit(sig, frame)

    def handle_error(self, req: Request | None, client: socket.socket, addr: tuple, exc: Exception) -> None:
        """Answers a request that the app never saw with a problem document (RFC 9457); Gunicorn's own are HTML."""
        answer = _BufferedSocket(client)
        super().handle_error(req, answer, addr, exc)
        written = re.match(rb"HTTP/1.1 (\d+) ([^\r]*)", answer.take())
        if not written:
            # The client has gone.
            return
        status, title = int(written[1]), written[2].decode()
        # Gunicorn calls some others Bad Request, too.
        title = http.HTTPStatus(status).phrase if title == "Bad Request" else title
        detail = "the service failed; its log says why" if status == 500 else str(exc)[:_DETAIL_CHARACTERS]
        body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()
        request_id = uuid.uuid4().hex
        _log.warning("refused before the app saw it", extra={"request_id": request_id, "status": status})
        head = (
            f"HTTP/1.1 {status} {title}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
            f"X-Request-ID: {request_id}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            client.sendall(head.encode("latin-1") + body)

    def handle_request(self, req: Request, conn: TConn) -> bool:
        sock = conn.sock
        conn.sock = _BufferedSocket(sock, conn.ticket)
        try:
            keeps_alive = super().handle_request(req, conn)
            if conn.ticket is not None and conn.sock.size > _SMALL_ANSWER:
                # The system may not take it before the client does, who must not keep a turn for that.
                self._admission.leave(conn.ticket)
            conn.is_read = conn.parser.finish_body(time.monotonic() + _DRAIN_SECONDS, _DRAIN_BYTES)
            conn.sock.flush()
            return keeps_alive
        finally:
            conn.sock = sock


class _Thread(threading.local):
    """What the thread that reads it is about.

    :ivar ends_turn: whether it is just ending a turn, so that it can go on with whoever has it next.
    :ivar next: the connection of that one.
    """

    ends_turn = False
    next: TConn | None = None


class _BufferedSocket:
    """A connected socket that keeps what `sendall` is given until `flush`. The app sees it in a request's environ."""

    def __init__(self, sock: socket.socket, ticket: object = None) -> None:
        self._sock = sock
        self.ticket = ticket
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendall(self, data: bytes) -> None:
        self._parts.append(data)

    def sendfile(self, *arguments: Any, **named: Any) -> int:
        """A file is not held in memory: only Swagger UI's are sent so, which a client can ask for again."""
        self.flush()
        return self._sock.sendfile(*arguments, **named)

    @property
    def size(self) -> int:
        """How many bytes are kept."""
        return sum(map(len, self._parts))

    def take(self) -> bytes:
        """What was kept, which is not sent any more."""
        parts, self._parts = self._parts, []
        return b"".join(parts)

    def flush(self) -> None:
        if data := self.take():
            self._sock.sendall(data)


def _first_letter(conn: TConn) -> bytes | None:
    """That of the connection's next request; b"" if there will be none, None if nothing has arrived yet."""
    if conn.parser is not None and (read_ahead := conn.parser.unreader.buf.getvalue()):
        return read_ahead[:1]
    try:
        return conn.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""
