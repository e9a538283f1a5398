"""Who may wait for a prediction, whose turn it is, how many pixels are in memory, and who is told to come back.

A request arrives, waits for its turn, has it, and leaves::

    ticket = admission.arrive()
    with admission.turn(ticket) as turn:
        turn.take_pixels(width * height)
        ...
    admission.leave(ticket)

Nobody is refused who could be served in time: what decides is how long a request would have to wait, by what is before
it and how fast that went lately.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from barevision.errors import BusyError

# Half of the connections that Gunicorn keeps (serving/gunicorn_conf.py): health checks must always get one.
_MOST_INSIDE = 1000
# How much the last request counts in how fast requests go: one picture of 50 megapixels among small ones says little.
_NEWEST_SHARE = 0.1


@dataclass
class Ticket:
    """A request's place in the queue.

    :ivar arrived: when, by `time.perf_counter`.
    :ivar expected_wait: seconds until its turn, by what is before it.
    :ivar refusal: why it has no place, in words; None if it has one.
    :ivar had_turn: whether its turn has come.
    :ivar has_left: whether its place is free again.
    """

    arrived: float
    expected_wait: float
    refusal: str | None = None
    had_turn: bool = False
    has_left: bool = False


class Admission:
    """The queue before an engine.

    :param turns: how many requests are read, decoded and predicted at once.
    :param pixels: how many pixels they may have in memory together; as many as the largest picture has, at least.
    :param max_wait: the longest expected wait, in seconds, with which a request is let in, and the longest wait for a
        turn or for pixels that others keep.
    """

    def __init__(self, turns: int, pixels: int, max_wait: float) -> None:
        self.turns = turns
        self.max_wait = max_wait
        self._turns = _Room(turns)
        self._pixels = _Room(pixels)
        self._lock = threading.Lock()
        self._inside = 0
        # Seconds from one request's end to the next one's, while there is work; and when the last one ended or, if
        # there was no work then, the first one came.
        self._pace = 0.0
        self._last_progress = 0.0

    @property
    def predicting(self) -> int:
        """How many requests have their turn."""
        return self._turns.taken

    @property
    def waiting(self) -> int:
        """How many requests are inside without having their turn."""
        return max(0, self._inside - self.predicting)

    def arrive(self) -> Ticket:
        """The place of a request that comes now, or its refusal."""
        now = time.perf_counter()
        with self._lock:
            if not self._inside:
                self._last_progress = now
            wait = self._inside * self._pace + (now - self._last_progress)
            ticket = Ticket(now, wait)
            if wait > self.max_wait:
                ticket.refusal = f"a turn would come in {wait:.1f} seconds, allowed are {self.max_wait:g}"
            elif self._inside >= _MOST_INSIDE:
                ticket.refusal = f"{self._inside} requests are here already"
            else:
                self._inside += 1
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Frees the place of `ticket`; once, however often it is called."""
        now = time.perf_counter()
        with self._lock:
            if ticket.refusal or ticket.has_left:
                return
            ticket.has_left = True
            self._inside -= 1
            if ticket.had_turn:
                seconds = now - self._last_progress
                self._pace += (seconds - self._pace) * (_NEWEST_SHARE if self._pace else 1)
                self._last_progress = now

    @contextlib.contextmanager
    def turn(self, ticket: Ticket) -> Iterator[Turn]:
        """The turn of the request of `ticket`. Those that wait have it in the order in which they ask.

        :raises BusyError: others kept all turns for too long.
        """
        turn = Turn(self._turns, self._pixels, self.max_wait)
        turn.begin()
        ticket.had_turn = True
        try:
            yield turn
        finally:
            turn.end()


class Turn:
    """What a request that has its turn may do with it."""

    def __init__(self, turns: _Room, pixels: _Room, max_wait: float) -> None:
        self._rooms = {turns: 0, pixels: 0}
        self._turns, self._pixels, self._max_wait = turns, pixels, max_wait

    def begin(self) -> None:
        """Waits for the turn.

        :raises BusyError: others kept all turns for too long.
        """
        self._take(self._turns, 1, "turn")

    def take_pixels(self, pixels: int) -> None:
        """Waits until so many `pixels` more may be in memory. They are given back with the turn.

        :raises BusyError: others kept them for too long.
        """
        self._take(self._pixels, pixels, f"room for {pixels} pixels")

    def _take(self, room: _Room, amount: int, what: str) -> None:
        if not room.take(amount, self._max_wait):
            raise BusyError(f"no {what} within {self._max_wait:g} seconds")
        self._rooms[room] += amount

    def give_way(self) -> None:
        """Ends the turn and waits for the next one, behind those who wait.

        :raises BusyError: as `begin`; the request has no turn then.
        """
        self.end()
        self.begin()

    def end(self) -> None:
        """Gives everything back."""
        for room, amount in self._rooms.items():
            room.give_back(amount)
            self._rooms[room] = 0


class _Room:
    """So much of something, which is taken and given back in pieces. Who waits is served in order."""

    def __init__(self, capacity: int) -> None:
        self._free = self._capacity = capacity
        self._waiting: deque[tuple[threading.Event, int]] = deque()
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        return self._capacity - self._free

    def take(self, amount: int, timeout: float) -> bool:
        """Whether `amount` was free, or became so within `timeout` seconds."""
        place = (threading.Event(), amount)
        with self._lock:
            self._waiting.append(place)
            self._serve()
        if place[0].wait(timeout):
            return True
        with self._lock:
            # It may have been served since.
            if place not in self._waiting:
                return True
            self._waiting.remove(place)
            # The next one may want less.
            self._serve()
            return False

    def give_back(self, amount: int) -> None:
        with self._lock:
            self._free += amount
            self._serve()

    def _serve(self) -> None:
        while self._waiting and self._waiting[0][1] <= self._free:
            served, amount = self._waiting.popleft()
            self._free -= amount
            served.set()


def is_machines_own(environ: dict) -> bool:
    """Whether the request `environ` (WSGI's) was sent on this machine to its NGINX, as a deployment's smoke test is.

    NGINX says whose connection it passes on, in place of what a client says of itself. Only NGINX connects to the
    service's socket, whose other end has no address.
    """
    return environ.get("REMOTE_ADDR") == "" and environ.get("HTTP_X_FORWARDED_FOR") in ("127.0.0.1", "::1")
