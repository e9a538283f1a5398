"""Who may wait for a prediction, whose turn it is, and who is told at once to come back."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator

from barevision.errors import BusyError
from barevision.serving.worker import THREADS

#: Threads that predictions leave alone: they answer health checks and refuse what is too much. One of them is lent to
#: the machine's own request.
SPARE_THREADS = 2
_LOOPBACK = ("127.0.0.1", "::1")


def places(threads: float) -> float:
    """How many requests for predictions `threads` threads may have in hand, waiting ones included."""
    return max(1, threads - SPARE_THREADS)


def is_machines_own(environ: dict) -> bool:
    """Whether the request `environ` (WSGI's) was sent on this machine to its NGINX, as a deployment's smoke test is.

    NGINX says whose connection it passes on, in place of what a client says of itself. Only NGINX connects to the
    service's socket, whose other end has no address.
    """
    return environ.get("REMOTE_ADDR") == "" and environ.get("HTTP_X_FORWARDED_FOR") in _LOOPBACK


class Admission:
    """Places for requests that predict or wait to, and turns for those that predict.

    A request without a place is refused at once. One with a place waits for its turn, `queue_seconds` at most. Without
    places, requests would wait in the queue of Gunicorn's thread pool, without limit, and health checks behind them.

    :param turns: how many pictures are decoded, and in memory, at once.
    """

    def __init__(self, turns: int, queue_seconds: float) -> None:
        self._queue_seconds = queue_seconds
        # A turn is free only while nobody waits. A semaphore's would be taken again by whoever gave it back.
        self._free = turns
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()
        self._in_hand = 0

    @contextlib.contextmanager
    def place(self, environ: dict) -> Iterator[None]:
        """A place for the request `environ` (WSGI's).

        There are places without limit where the server does not say how many threads it has. The machine's own request
        has one more: others who ask again and again would keep the smoke test out of a service that is well.

        :raises BusyError: all places are taken.
        """
        limit = places(environ.get(THREADS, math.inf)) + is_machines_own(environ)
        with self._lock:
            if self._in_hand >= limit:
                raise BusyError(f"all {limit} places are taken by requests that predict or wait")
            self._in_hand += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_hand -= 1

    @contextlib.contextmanager
    def turn(self) -> Iterator[Callable[[], None]]:
        """A turn, for a request that has a place. What it gives ends the turn and waits for the next one.

        Those that wait have their turns in the order in which they came.

        :raises BusyError: others kept all turns for too long.
        """
        self._take()
        has_turn = True

        def give_way() -> None:
            nonlocal has_turn
            if has_turn:
                self._give_back()
            has_turn = False
            self._take()
            has_turn = True

        try:
            yield give_way
        finally:
            if has_turn:
                self._give_back()

    def _take(self) -> None:
        called = threading.Event()
        with self._lock:
            if self._free:
                self._free -= 1
                return
            self._waiting.append(called)
        if called.wait(self._queue_seconds):
            return
        with self._lock:
            # It may have been called since.
            if called in self._waiting:
                self._waiting.remove(called)
                raise BusyError(f"no turn within {self._queue_seconds:g} seconds")

    def _give_back(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
