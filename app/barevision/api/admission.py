"""Who may wait for a prediction, whose turn it is, how many pixels are in memory, and who is told to come back.

A request arrives, waits for its turn, and has it until it leaves::

    ticket = admission.arrive()
    with admission.turn(ticket) as turn:
        turn.hold_pixels(width * height)
        ...
    admission.leave(ticket)

Who has no thread to wait in is called when it is its turn: `Admission.call`.

Nobody is refused who could be served in time: what decides is how long a request would have to wait, by what is before
it and how fast that went lately.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from barevision.errors import BusyError
from barevision.processes import Numbers, Process, only_process

#: How many requests may be inside, in all processes together. A quarter of the connections that Gunicorn keeps
#: (serving/gunicorn_conf.py): others are for health checks and refusals. NGINX lets as many through (roles/nginx),
#: because it refuses with less work.
MOST_INSIDE = 500
# How many of the last turns tell how fast turns go: one picture of 50 megapixels among small ones says little.
_LATEST_TURNS = 32
# The next ones may take longer than those: with a tenth more, who is let in is answered in time.
_SLOWER = 1.1
# Who is offered four times what it can do refuses three for each turn. Clients that come again at once would be refused
# hundreds of times a second, and each refusal takes about a millisecond from those inside.
_REFUSALS_A_TURN = 5
# Seconds without a refusal that may be made up for.
_REFUSALS_BURST = 1.0
# Requests that wait between two of their pictures keep their body and their thread; so many in all processes together.
_MOST_BETWEEN = 5
# How long a new connection is left to a process in which it has its turn sooner, and where it would be refused here.
_MOMENT, _LONG_MOMENT = 0.0003, 0.003


@dataclass
class Ticket:
    """A request's place in the queue.

    :ivar arrived: when, by `time.perf_counter`.
    :ivar expected_wait: seconds until its turn, by what is before it.
    :ivar refusal: why it has no place, in words; None if it has one.
    :ivar has_turn: whether it is its turn.
    :ivar has_begun: whether its prediction began, so that its turn tells how long one takes.
    :ivar has_left: whether its place is free again.
    """

    arrived: float
    expected_wait: float
    refusal: str | None = None
    has_turn: bool = False
    has_begun: bool = False
    has_left: bool = False


class Admission:
    """The queue before an engine.

    :param turns: how many requests are read, decoded and predicted at once.
    :param pixels: how many pixels they may have in memory together, those of other processes included; as many as the
        largest picture has, at least.
    :param max_wait: the longest expected wait, in seconds, with which a request is let in, and the longest wait for a
        turn or for pixels that others keep.
    :param process: the one that this queue is of; the only one of its service if None.
    """

    def __init__(self, turns: int, pixels: int, max_wait: float, process: Process | None = None) -> None:
        self.turns, self.pixels = turns, pixels
        # What a server needs, so that one is left for the next request whatever the others wait for.
        self.threads = turns + _MOST_BETWEEN + 1
        self.max_wait = max_wait
        self.process = process or only_process()
        self._numbers = self.process.numbers
        self._turns = _Turns(turns, self._numbers)
        self._lock = threading.Lock()
        # Seconds from one turn's end to the next one's, while others wait; and whether others waited at the last end.
        self._latest_turns: deque[float] = deque(maxlen=_LATEST_TURNS)
        self._was_crowded = False
        self._numbers.turns = turns
        # When the next refusal may be sent.
        self._next_refusal = 0.0

    @property
    def predicting(self) -> int:
        """How many requests have their turn."""
        return self._numbers.predicting

    @property
    def waiting(self) -> int:
        """How many requests are inside without having their turn."""
        return max(0, self._numbers.inside - self.predicting)

    def arrive(self) -> Ticket:
        """The place of a request that comes now, or its refusal."""
        now = time.perf_counter()
        with self._lock:
            if not self._numbers.inside:
                self._numbers.last_end, self._was_crowded = now, False
            wait = _expected_wait(self._numbers, now)
            ticket = Ticket(now, wait)
            if wait > self.max_wait:
                ticket.refusal = f"a turn would come in {wait:.1f} seconds, allowed are {self.max_wait:g}"
            elif (inside := sum(process.inside for process in self.process.everyone())) >= MOST_INSIDE:
                ticket.refusal = f"{inside} requests are here already"
            else:
                self._numbers.inside += 1
        return ticket

    def moment_for_others(self) -> float:
        """How many seconds to leave a new connection to other processes, because its turn would come sooner there."""
        now, own = time.perf_counter(), self._numbers
        wait = _expected_wait(own, now)
        others = (other for other in self.process.others() if other.takes_connections)
        if all((_expected_wait(other, now), other.inside) >= (wait, own.inside) for other in others):
            return 0.0
        return _MOMENT if wait <= self.max_wait else _LONG_MOMENT

    def hold_back(self, ticket: Ticket) -> float:
        """How many seconds to wait before `ticket`'s refusal is sent, because who is refused may come again at once.

        Nobody waits longer for it than others for their turn.
        """
        now, latest = time.perf_counter(), ticket.arrived + self.max_wait
        if now >= latest:
            return 0.0
        with self._lock:
            earliest = max(self._next_refusal, now - _REFUSALS_BURST)
            self._next_refusal = earliest + self._numbers.turn_seconds / _REFUSALS_A_TURN
        return max(0.0, min(earliest, latest) - now)

    def leave(self, ticket: Ticket) -> None:
        """Ends the turn of `ticket` and frees its place; once, however often it is called."""
        with self._lock:
            if ticket.has_left:
                return
            ticket.has_left = True
        # One that was refused may have a turn all the same: the machine's own.
        self.end_turn(ticket)
        if not ticket.refusal:
            with self._lock:
                self._numbers.inside -= 1

    def call(self, ticket: Ticket, begin: Callable[[], None]) -> None:
        """Calls `begin` when it is the turn of `ticket`: now, or from the thread in which another turn ends."""

        def begin_turn() -> None:
            ticket.has_turn = True
            begin()

        self._turns.ask(begin_turn)

    @contextlib.contextmanager
    def turn(self, ticket: Ticket) -> Iterator[Turn]:
        """The turn of the request of `ticket`. Those that wait have it in the order in which they ask.

        :raises BusyError: others kept all turns for too long.
        """
        self.begin_turn(ticket)
        turn = Turn(self, ticket)
        try:
            yield turn
        finally:
            turn.hold_pixels(0)

    def begin_turn(self, ticket: Ticket) -> None:
        """Waits for the turn of `ticket`, unless it has it.

        :raises BusyError: others kept all turns for too long.
        """
        if not ticket.has_turn and not self._turns.take(self.max_wait):
            raise BusyError(f"no turn within {self.max_wait:g} seconds")
        ticket.has_turn = ticket.has_begun = True

    def end_turn(self, ticket: Ticket) -> None:
        """Gives the turn of `ticket` to the next one, if it has it, and learns from it how fast turns go."""
        if not ticket.has_turn:
            return
        ticket.has_turn = False
        if ticket.has_begun:
            now = time.perf_counter()
            with self._lock:
                numbers = self._numbers
                if self._was_crowded:
                    self._latest_turns.append(now - numbers.last_end)
                    numbers.turn_seconds = sum(self._latest_turns) / len(self._latest_turns)
                numbers.last_end, self._was_crowded = now, numbers.inside > self.turns
        self._turns.give_back()

    @contextlib.contextmanager
    def between_pictures(self) -> Iterator[None]:
        """A place for a request that waits between two of its pictures.

        :raises BusyError: too many do.
        """
        with self._lock:
            between = sum(process.between for process in self.process.everyone())
            if between >= _MOST_BETWEEN:
                raise BusyError(
                    f"{between} other requests with several pictures wait for their next one; send this picture in a "
                    "request of its own"
                )
            self._numbers.between += 1
        try:
            yield
        finally:
            with self._lock:
                self._numbers.between -= 1


def _expected_wait(numbers: Numbers, now: float) -> float:
    """Seconds until the turn of a request that comes `now` to the process of these numbers, by what is before it."""
    # One of those inside has to end before a turn is free, or more.
    ahead = max(0, numbers.inside - numbers.turns + 1)
    return ahead * numbers.turn_seconds * _SLOWER + now - numbers.last_end if ahead else 0.0


class Turn:
    """What a request that has its turn may do with it."""

    def __init__(self, admission: Admission, ticket: Ticket) -> None:
        self._admission, self._ticket = admission, ticket
        self._held = 0

    def hold_pixels(self, pixels: int) -> None:
        """Notes that the request has so many `pixels` in memory from now on, until the turn's end at most.

        Waits until there is room, if they are more than before.

        :raises BusyError: others kept it for too long.
        """
        process, most, max_wait = self._admission.process, self._admission.pixels, self._admission.max_wait
        if pixels <= self._held:
            process.give_back_pixels(self._held - pixels)
        elif not process.hold_pixels(pixels - self._held, most, max_wait):
            raise BusyError(f"no room for {pixels} pixels within {max_wait:g} seconds")
        self._held = pixels

    def give_way(self) -> None:
        """Ends the turn and waits for the next one, behind those who wait.

        :raises BusyError: others kept all turns for too long, and the request has no turn then; or too many wait so,
            and it keeps its turn.
        """
        with self._admission.between_pictures():
            self.hold_pixels(0)
            self._admission.end_turn(self._ticket)
            self._admission.begin_turn(self._ticket)


class _Turns:
    """So many turns, which are taken and given back. Who waits is served in order."""

    def __init__(self, turns: int, numbers: Numbers) -> None:
        self._free = self._all = turns
        self._numbers = numbers
        self._waiting: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()

    def ask(self, begin: Callable[[], None]) -> None:
        """Calls `begin` once a turn is taken for it: now, or from the thread that gives one back."""
        with self._changing():
            self._waiting.append(begin)

    def take(self, timeout: float) -> bool:
        """Whether a turn was free, or became so within `timeout` seconds."""
        is_taken = threading.Event()
        begin = is_taken.set
        self.ask(begin)
        if is_taken.wait(timeout):
            return True
        with self._changing():
            # It may have been taken since.
            if begin not in self._waiting:
                return True
            self._waiting.remove(begin)
        return False

    def give_back(self) -> None:
        with self._changing():
            self._free += 1

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Serves those that can be served after a change, and calls them when others may change it again."""
        served = []
        with self._lock:
            yield
            while self._waiting and self._free:
                self._free -= 1
                served.append(self._waiting.popleft())
            self._numbers.predicting = self._all - self._free
        for begin in served:
            begin()


def is_machines_own(environ: dict) -> bool:
    """Whether the request `environ` (WSGI's) was sent on this machine to its NGINX, as a deployment's smoke test is.

    NGINX says whose connection it passes on, in place of what a client says of itself. Only NGINX connects to the
    service's socket, whose other end has no address.
    """
    return environ.get("REMOTE_ADDR") == "" and environ.get("HTTP_X_FORWARDED_FOR") in ("127.0.0.1", "::1")
