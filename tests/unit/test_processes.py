"""What processes share, with real ones that are forked from this one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from barevision.processes import Process, Processes, only_process
from tests.support.waiting import wait_until

# Later Pythons warn where other tests left a thread. What is forked here ends without waiting for any.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@contextmanager
def forked(run: Callable[[], object]) -> Iterator[int]:
    """The number of a process that does `run` and ends; it is killed at the end if it has not."""
    number = os.fork()
    if not number:
        try:
            run()
        finally:
            os._exit(0)
    try:
        yield number
    finally:
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)


def two_processes() -> tuple[Processes, Process, Process]:
    """A service's processes, this one, and one to be forked."""
    processes = Processes()
    return processes, processes.join(), processes.join()


def hold(process: Process, pixels: int) -> None:
    """Keeps so many pixels of 100 until it is killed."""
    assert process.hold_pixels(pixels, 100, 5)
    time.sleep(60)


def test_a_process_sees_what_another_one_does() -> None:
    _, mine, other = two_processes()

    def work() -> None:
        other.numbers.inside, other.numbers.last_success = 3, 1.5
        other.numbers.pid = os.getpid()

    with forked(work) as number:
        wait_until(lambda: other.numbers.pid, "the other process has worked")
        (seen,) = mine.others()
        assert (seen.pid, seen.inside, seen.last_success) == (number, 3, 1.5)
        assert len(mine.everyone()) == 2


def test_the_place_of_one_that_ended_is_empty_for_the_next() -> None:
    processes = Processes()
    first, second = processes.join(), processes.join()
    first.numbers.inside = first.numbers.pixels = 7
    processes.leave(first)
    assert len(second.everyone()) == 1
    third = processes.join()
    assert (third.number, third.numbers.inside, third.numbers.pixels) == (first.number, 0, 0)


def test_processes_of_one_service_know_nothing_of_another() -> None:
    first, second = only_process(), only_process()
    first.numbers.inside = 1
    assert first.others() == []
    assert second.numbers.inside == 0


def test_all_processes_together_hold_so_many_pixels() -> None:
    processes, mine, other = two_processes()
    assert mine.hold_pixels(40, 100, 0)
    with forked(lambda: hold(other, 50)):
        wait_until(lambda: other.numbers.pixels == 50, "the other one has its pixels")
        assert not mine.hold_pixels(11, 100, 0.05)
        assert mine.hold_pixels(10, 100, 0.05)
        mine.give_back_pixels(50)
    # What it kept is kept until whoever started it frees its place.
    assert not mine.hold_pixels(100, 100, 0.05)
    processes.leave(other)
    assert mine.hold_pixels(100, 100, 0.05)


def test_who_waits_for_many_pixels_is_not_passed_by_who_wants_few() -> None:
    processes, mine, other = two_processes()
    assert mine.hold_pixels(10, 100, 0)
    with forked(lambda: hold(other, 100)) as number:
        wait_until(lambda: other.numbers.wants_pixels, "the other process waits")
        begun = threading.Thread(target=lambda: mine.hold_pixels(1, 100, 60))
        begun.start()
        mine.give_back_pixels(10)
        wait_until(lambda: other.numbers.pixels == 100, "the other process has its pixels")
        assert mine.numbers.pixels == 0
        os.kill(number, signal.SIGKILL)
        processes.leave(other)
        begun.join(60)
    assert mine.numbers.pixels == 1


def test_one_that_dies_while_it_waits_does_not_keep_others_from_their_pixels() -> None:
    _, mine, other = two_processes()
    assert mine.hold_pixels(10, 100, 0)
    with forked(lambda: hold(other, 100)):
        wait_until(lambda: other.numbers.wants_pixels, "the other process waits")
        assert not mine.hold_pixels(1, 100, 0.05)
    # Also before whoever started it has noticed.
    assert mine.hold_pixels(1, 100, 5)


def test_there_are_only_so_many_places() -> None:
    processes = Processes()
    with pytest.raises(RuntimeError, match="128 processes"):
        [processes.join() for _ in range(1000)]
