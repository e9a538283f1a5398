"""Who may wait for a prediction, whose turn it is, how many pixels are in memory, and who is told to come back.

A request arrives, waits for its turn, has it, and leaves::

    ticket = admission.arrive()
    with admission.turn(ticket) as turn:
        turn.hold_pixels(width * height)
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

# Half of the connections that Gunicorn keeps (serving/gunicorn_conf.py): the others are for health checks and refusals.
_MOST_INSIDE = 1000
# How much the last turn counts in how fast turns go: one picture of 50 megapixels among small ones says little.
_NEWEST_SHARE = 0.1
# Requests that wait between two of their pictures keep their body and their thread.
_MOST_BETWEEN = 5


@dataclass
class Ticket:
    """A request's place in the queue.

    :ivar arrived: when, by `time.perf_counter`.
    :ivar expected_wait: seconds until its turn, by what is before it.
    :ivar refusal: why it has no place, in words; None if it has one.
    :ivar has_left: whether its place is free again.
    """

    arrived: float
    expected_wait: float
    refusal: str | None = None
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
        # What a server needs, so that one is left for the next request whatever the others wait for.
        self.threads = turns + _MOST_BETWEEN + 1
        self.max_wait = max_wait
        self._turns = _Room(turns)
        self._pixels = _Room(pixels)
        self._lock = threading.Lock()
        self._inside = self._between = 0
        # Seconds from one turn's end to the next one's, while others wait. When the last turn ended or, if nobody was
        # inside then, the first request came; and whether others waited at that end.
        self._pace = 0.0
        self._last_end = 0.0
        self._was_crowded = False

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
                self._last_end, self._was_crowded = now, False
            # One of those inside has to end before a turn is free, or more.
            ahead = max(0, self._inside - self.turns + 1)
            wait = ahead * self._pace + (now - self._last_end) if ahead else 0.0
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
        with self._lock:
            if not (ticket.refusal or ticket.has_left):
                ticket.has_left = True
                self._inside -= 1

    @contextlib.contextmanager
    def turn(self, ticket: Ticket) -> Iterator[Turn]:
        """The turn of the request of `ticket`. Those that wait have it in the order in which they ask.

        :raises BusyError: others kept all turns for too long.
        """
        turn = Turn(self, self._turns, self._pixels)
        turn.begin()
        try:
            yield turn
        finally:
            turn.end()

    def turn_ended(self) -> None:
        """Learns from a turn that ends how fast turns go."""
        now = time.perf_counter()
        with self._lock:
            if self._was_crowded:
                seconds = now - self._last_end
                self._pace += (seconds - self._pace) * (_NEWEST_SHARE if self._pace else 1)
            self._last_end, self._was_crowded = now, self._inside > self.turns

    @contextlib.contextmanager
    def between_pictures(self) -> Iterator[None]:
        """A place for a request that waits between two of its pictures.

        :raises BusyError: too many do.
        """
        with self._lock:
            if self._between >= _MOST_BETWEEN:
                raise BusyError(
                    f"{self._between} other requests with several pictures wait for their next one; send this picture "
                    "in a request of its own"
                )
            self._between += 1
        try:
            yield
        finally:
            with self._lock:
                self._between -= 1


class Turn:
    """What a request that has its turn may do with it."""

    def __init__(self, admission: Admission, turns: _Room, pixels: _Room) -> None:
        self._admission = admission
        self._rooms = {turns: 0, pixels: 0}
        self._turns, self._pixels = turns, pixels

    def begin(self) -> None:
        """Waits for the turn.

        :raises BusyError: others kept all turns for too long.
        """
        self._take(self._turns, 1, "turn")

    def hold_pixels(self, pixels: int) -> None:
        """Notes that the request has so many `pixels` in memory from now on, until the turn's end at most.

        Waits until there is room, if they are more than before.

        :raises BusyError: others kept it for too long.
        """
        more = pixels - self._rooms[self._pixels]
        if more > 0:
            self._take(self._pixels, more, f"room for {pixels} pixels")
        else:
            self._pixels.give_back(-more)
            self._rooms[self._pixels] = pixels

    def _take(self, room: _Room, amount: int, what: str) -> None:
        max_wait = self._admission.max_wait
        if not room.take(amount, max_wait):
            raise BusyError(f"no {what} within {max_wait:g} seconds")
        self._rooms[room] += amount

    def give_way(self) -> None:
        """Ends the turn and waits for the next one, behind those who wait.

        :raises BusyError: as `begin`, and the request has no turn then; or too many wait so, and it keeps its turn.
        """
        with self._admission.between_pictures():
            self.end()
            self.begin()

    def end(self) -> None:
        """Gives everything back."""
        if self._rooms[self._turns]:
            self._admission.turn_ended()
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
