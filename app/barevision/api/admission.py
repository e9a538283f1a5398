"""Who may wait for a prediction, and who is told at once to come back."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
from collections.abc import Iterator

from werkzeug.exceptions import ClientDisconnected

from barevision.errors import BusyError
from barevision.serving.worker import THREADS

#: Threads that predictions leave alone: they answer health checks and refuse what is too much.
SPARE_THREADS = 2
_CONNECTION = "gunicorn.socket"


def places(threads: float) -> float:
    """How many requests for predictions `threads` threads may have in hand, waiting ones included."""
    return max(1, threads - SPARE_THREADS)


class Door:
    """Counts the requests for predictions that are in the service.

    What waits in here waits for `queue_seconds` at most; what waited outside, in Gunicorn's pool, would wait without
    limit, and health checks behind it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    @contextlib.contextmanager
    def enter(self, environ: dict) -> Iterator[None]:
        """A place for the request `environ` (WSGI's); without limit on a server that doesn't say its threads.

        :raises BusyError: all places are taken.
        """
        self._take(places(environ.get(THREADS, math.inf)))
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1

    def _take(self, limit: float) -> None:
        with self._lock:
            if self._inside >= limit:
                raise BusyError(f"{self._inside} requests are being handled or wait, and no more may")
            self._inside += 1


def stop_if_client_is_gone(environ: dict) -> None:
    """Raises `ClientDisconnected` if nobody waits for the answer; to be called once the body was read.

    NGINX closes its connection when its client gives up.
    """
    connection = environ.get(_CONNECTION)
    if connection is None:
        return
    with contextlib.suppress(BlockingIOError):
        if not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
            raise ClientDisconnected
