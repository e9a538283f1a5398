"""What the processes of one service know of each other, in memory that they share.

A process has one lock for all of its Python. A network of a few milliseconds is asked so often that requests wait for
it, so such a network is run in several processes (`Plan.processes`). What must hold for the service as a whole is here:
who has least takes the next connection, a picture has all cores where it is the only one in any process, and so many
pixels are in memory at most.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator

# Those of before a reload beside those after it, and others that take their time to end. A network is never given more
# than a quarter of them (choosing/choice.py).
_MOST_PLACES = 128
# How often who waits for pixels looks whether there is room, in seconds.
_LOOK_SECONDS = 0.002


class Numbers(ctypes.Structure):
    """What a process lets the others see, and the one that starts them. The last three may be a second old.

    :ivar is_taken: whether there is such a process; if not, all are 0.
    :ivar pid: its number, 0 until it has loaded its model.
    :ivar wanted: how many processes there should be, by what it was told to run; 0 until it knows.
    :ivar takes_connections: whether it takes new ones.
    :ivar inside: requests for predictions that wait or have their turn.
    :ivar turns: how many may have it at once.
    :ivar predicting: how many have it.
    :ivar between: requests that wait between two of their pictures.
    :ivar inferring: inferences that run.
    :ivar pixels: those of its pictures in memory.
    :ivar wants_pixels: whether it waits until there is room for some.
    :ivar last_end: when a turn last ended, or the first request came, by `time.perf_counter`.
    :ivar turn_seconds: from the end of a turn to that of the next one, while others wait.
    :ivar is_ready: whether it answers rightly, and no prediction hangs.
    :ivar last_success: when a prediction last succeeded, in seconds since 1970; 0 if none did.
    :ivar oldest_seconds: for how long the oldest prediction has been running; 0 if none is.
    """

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("is_taken", "pid", "wanted", "takes_connections", "inside", "turns")),
        *((name, ctypes.c_int64) for name in ("predicting", "between", "inferring", "pixels", "wants_pixels")),
        *((name, ctypes.c_double) for name in ("last_end", "turn_seconds")),
        ("is_ready", ctypes.c_int64),
        *((name, ctypes.c_double) for name in ("last_success", "oldest_seconds")),
    ]


class _Table(ctypes.Structure):
    # Places from `used` on were never taken.
    _fields_ = [("used", ctypes.c_int64), ("places", Numbers * _MOST_PLACES)]


class _LockFile:
    """A file without a name, for POSIX locks: a process has one for all of its threads, and none once it has ended."""

    def __init__(self) -> None:
        self._descriptor, path = tempfile.mkstemp()
        os.unlink(path)  # noqa: PTH108
        weakref.finalize(self, os.close, self._descriptor)

    def fileno(self) -> int:
        return self._descriptor


class Processes:
    """A service's processes, for the one that starts the others. They inherit the memory and share it."""

    def __init__(self) -> None:
        self._table = _Table.from_buffer(mmap.mmap(-1, ctypes.sizeof(_Table)))
        self._lock = _LockFile()

    def join(self) -> Process:
        """A place for another process, which is about to be started.

        :raises RuntimeError: there are as many already as there can ever be.
        """
        table = self._table
        number = next((number for number, place in enumerate(table.places) if not place.is_taken), None)
        if number is None:
            raise RuntimeError(f"there are {_MOST_PLACES} processes already, some of which should have ended")
        table.places[number].is_taken = 1
        table.used = max(table.used, number + 1)
        return Process(number, table, self._lock)

    def leave(self, process: Process) -> None:
        """Frees the place of a process that has ended, however it did."""
        ctypes.memset(ctypes.addressof(process.numbers), 0, ctypes.sizeof(Numbers))


class Process:
    """One process, as it sees itself and the others.

    :ivar number: that of its place, from 0. One that follows it when it has ended may have the same.
    :ivar numbers: what the others see of it.
    """

    def __init__(self, number: int, table: _Table, lock: _LockFile) -> None:
        self._table, self._places = table, list(table.places)
        self.number, self.numbers = number, self._places[number]
        self._lock, self._threads, self._counting = lock, threading.Lock(), threading.Lock()

    def everyone(self) -> list[Numbers]:
        """The numbers of all processes, this one's among them."""
        return [place for place in self._places[: self._table.used] if place.is_taken]

    def others(self) -> list[Numbers]:
        """The numbers of all other processes."""
        return [place for place in self.everyone() if place is not self.numbers]

    def hold_pixels(self, pixels: int, most: int, timeout: float) -> bool:
        """Notes that this process has so many `pixels` more in memory, if all processes have `most` at most then.

        Waits until that is so. Who waits is not passed by others of its process, nor by those who came later to another
        one, but for a few milliseconds.

        :returns: whether it became so within `timeout` seconds.
        """
        end = time.monotonic() + timeout
        if not self._threads.acquire(timeout=timeout):
            return False
        try:
            waits = any(other.wants_pixels for other in self.others())
            return (not waits and self._fit(pixels, most)) or self._wait_for_pixels(pixels, most, end)
        finally:
            self._threads.release()

    def give_back_pixels(self, pixels: int) -> None:
        """Notes that this process has so many `pixels` less in memory."""
        with self._counting:
            self.numbers.pixels -= pixels

    def _fit(self, pixels: int, most: int) -> bool:
        """Notes `pixels` more, if they fit. Of two processes that try at once, perhaps neither may."""
        with self._counting:
            self.numbers.pixels += pixels
            if sum(each.pixels for each in self.everyone()) <= most:
                return True
            self.numbers.pixels -= pixels
        return False

    def _wait_for_pixels(self, pixels: int, most: int, end: float) -> bool:
        self.numbers.wants_pixels = 1
        try:
            with self._alone(end) as is_alone:
                while is_alone and not self._fit(pixels, most):
                    if time.monotonic() > end:
                        return False
                    time.sleep(_LOOK_SECONDS)
                return is_alone
        finally:
            self.numbers.wants_pixels = 0

    @contextlib.contextmanager
    def _alone(self, end: float) -> Iterator[bool]:
        """While no other process waits for room; False if that can't be had until `end`."""
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() > end:
                yield False
                return
            time.sleep(_LOOK_SECONDS)
        try:
            yield True
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)


def only_process() -> Process:
    """This process, as the only one of its service."""
    process = Processes().join()
    process.numbers.pid, process.numbers.takes_connections = os.getpid(), 1
    return process
