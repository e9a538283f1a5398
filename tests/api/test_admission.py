"""Tickets, turns and pixels: who is predicted, who waits, and who is told to come back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace

import cv2
import pytest
from flask import Flask

from barevision.api import create_app
from barevision.api.admission import Admission, Ticket, Turn, is_machines_own
from barevision.detector import Detector
from barevision.errors import BusyError
from barevision.processes import Processes
from barevision.serving import gunicorn_conf
from barevision.serving.worker import TICKET
from tests.support.admission import all_turns_taken, refused
from tests.support.problems import assert_problem
from tests.support.waiting import wait_until


class Clock:
    """Time that passes when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("barevision.api.admission.time.perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@contextlib.contextmanager
def turn(admission: Admission) -> Iterator[Turn]:
    """The turn of a request of its own, which then leaves."""
    ticket = admission.arrive()
    try:
        with admission.turn(ticket) as its_turn:
            yield its_turn
    finally:
        admission.leave(ticket)


def crowd(admission: Admission, clock: Clock, *seconds: float) -> None:
    """Requests that come together, of which each takes so long, one after the other."""
    tickets = [admission.arrive() for _ in seconds]
    for ticket, its_seconds in zip(tickets, seconds, strict=True):
        with admission.turn(ticket):
            clock.now += its_seconds
        admission.leave(ticket)


def test_the_expected_wait_is_what_is_before_a_request_times_what_each_takes_lately(clock: Clock) -> None:
    admission = Admission(1, 1000, max_wait=10)
    crowd(admission, clock, 2, 2)
    tickets = [admission.arrive() for _ in range(7)]
    # And a tenth more, should the next ones be slower.
    assert [ticket.expected_wait for ticket in tickets] == pytest.approx([0, 2.2, 4.4, 6.6, 8.8, 11, 11])
    assert [ticket.refusal for ticket in tickets[:5]] == [None] * 5
    assert tickets[5].refusal == "a turn would come in 11.0 seconds, allowed are 10"
    # Who is refused has no place: the next one would wait as long.
    assert tickets[6].refusal
    assert admission.waiting == 5
    admission.leave(tickets[0])
    assert admission.arrive().expected_wait == pytest.approx(8.8)


def test_while_a_turn_is_free_nobody_waits(clock: Clock) -> None:
    admission = Admission(3, 1000, max_wait=10)
    crowd(admission, clock, *[5] * 6)
    tickets = [admission.arrive() for _ in range(6)]
    assert [ticket.expected_wait for ticket in tickets] == pytest.approx([0, 0, 0, 5.5, 11, 11])


def test_what_each_takes_is_what_they_took_lately_and_not_once(clock: Clock) -> None:
    admission = Admission(1, 1000, max_wait=1000)
    crowd(admission, clock, 9, 9, *[0.5] * 60)
    admission.arrive()
    assert admission.arrive().expected_wait == pytest.approx(0.55)


def test_how_long_a_lone_request_takes_says_nothing_of_a_crowd(clock: Clock) -> None:
    admission = Admission(8, 1000, max_wait=10)
    for _ in range(20):
        crowd(admission, clock, 3)
    assert not any(admission.arrive().refusal for _ in range(100))


def test_time_without_work_is_not_time_that_a_request_took(clock: Clock) -> None:
    admission = Admission(1, 1000, max_wait=10)
    crowd(admission, clock, 2, 2)
    clock.now += 3600
    crowd(admission, clock, 2, 2)
    admission.arrive()
    assert admission.arrive().expected_wait == pytest.approx(2.2)


def test_while_nothing_is_answered_the_wait_grows(clock: Clock) -> None:
    admission = Admission(1, 1000, max_wait=10)
    crowd(admission, clock, 1, 1)
    with turn(admission):
        clock.now += 8
        assert admission.arrive().expected_wait == pytest.approx(9.1)
        clock.now += 1
        assert admission.arrive().refusal


def test_a_form_of_many_pictures_is_no_standstill(clock: Clock) -> None:
    admission = Admission(1, 1000, max_wait=10)
    with turn(admission) as mine:
        for _ in range(20):
            clock.now += 0.6
            mine.give_way()
        assert not admission.arrive().refusal


def test_requests_that_wait_for_their_next_picture_leave_threads_to_others() -> None:
    admission, end = Admission(1, 1000, max_wait=60), threading.Event()
    refusals, threads = [], []

    def several() -> None:
        with turn(admission) as mine:
            try:
                mine.give_way()
            except BusyError as error:
                refusals.append(str(error))
            end.wait()

    first = admission.arrive()
    with admission.turn(first):
        for number in range(1, 7):
            threads.append(threading.Thread(target=several))
            threads[-1].start()
            wait_until(lambda waiting=number: len(admission._turns._waiting) == waiting, "it waits for a turn")
        assert refusals == []
        # Each of the six gives way to the one behind it, and the sixth to nobody any more.
        admission.leave(first)
        wait_until(lambda: refusals, "one keeps its turn")
        assert "5 other requests with several pictures wait" in refusals[0]
        end.set()
    for thread in threads:
        thread.join()
    assert len(refusals) == 1
    assert admission.predicting == 0


def test_a_request_that_never_had_a_turn_says_nothing_of_how_long_they_take(clock: Clock) -> None:
    admission = Admission(1, 1000, max_wait=10)
    crowd(admission, clock, 3, 3)
    for _ in range(50):
        admission.leave(admission.arrive())
    admission.arrive()
    assert admission.arrive().expected_wait == pytest.approx(3.3)


def test_health_checks_have_connections_however_fast_predictions_are(clock: Clock) -> None:
    admission = Admission(1, 1000, max_wait=10)
    crowd(admission, clock, 0.001, 0.001)
    while not (refused := admission.arrive()).refusal:
        pass
    assert refused.refusal == "500 requests are here already"
    assert admission.waiting * 2 <= gunicorn_conf.worker_connections


def two_processes(max_wait: float = 10) -> tuple[Admission, Admission]:
    """The queues of a service of two processes, before an engine each."""
    processes = Processes()
    both = tuple(Admission(1, 1000, max_wait, processes.join()) for _ in range(2))
    for admission in both:
        admission.process.numbers.takes_connections = 1
    return both


def test_a_connection_is_left_to_the_process_that_has_less_to_do(clock: Clock) -> None:
    first, second = two_processes()
    assert [first.moment_for_others(), second.moment_for_others()] == [0, 0]
    # Nobody knows how long a turn takes yet.
    first.arrive()
    assert first.moment_for_others() > 0 == second.moment_for_others()
    second.arrive()
    assert [first.moment_for_others(), second.moment_for_others()] == [0, 0]
    second.process.numbers.takes_connections = 0
    first.arrive()
    assert first.moment_for_others() == 0


def test_a_process_that_would_refuse_leaves_connections_to_one_that_would_not(clock: Clock) -> None:
    """One request keeps its turn for longer than others may wait, as a hung one does: it attracts no others."""
    hung, other = two_processes()
    crowd(hung, clock, 1, 1)
    crowd(other, clock, 1, 1)
    with turn(hung):
        for _ in range(4):
            other.arrive()
        clock.now += 2
        assert other.moment_for_others() > hung.moment_for_others() == 0
        clock.now += 9
        other.leave(other.arrive())
        other.process.numbers.last_end = clock.now
        assert hung.moment_for_others() > other.moment_for_others() == 0


def test_places_and_requests_between_pictures_are_those_of_all_processes(clock: Clock) -> None:
    first, second = two_processes()
    for _ in range(250):
        assert not first.arrive().refusal
        assert not second.arrive().refusal
    assert first.arrive().refusal == second.arrive().refusal == "500 requests are here already"
    with contextlib.ExitStack() as stack:
        for admission in (first, second, first, second, first):
            stack.enter_context(admission.between_pictures())
        with pytest.raises(BusyError, match="5 other requests"):
            stack.enter_context(second.between_pictures())
    with second.between_pictures():
        pass


def held_back(admission: Admission, clock: Clock, count: int) -> list[float]:
    return [admission.hold_back(Ticket(clock.now, 99, "a turn would come in 99 seconds")) for _ in range(count)]


def test_there_are_five_refusals_for_each_turn_and_no_more(clock: Clock) -> None:
    admission = Admission(1, 1000, max_wait=10)
    assert held_back(admission, clock, 100) == [0] * 100
    crowd(admission, clock, 2, 2)
    # One in 0.4 seconds, and what there was time for in the last second.
    assert held_back(admission, clock, 5) == pytest.approx([0, 0, 0, 0.2, 0.6])
    clock.now += 0.5
    assert held_back(admission, clock, 1) == pytest.approx([0.5])
    clock.now += 60
    assert held_back(admission, clock, 4) == pytest.approx([0, 0, 0, 0.2])


def test_no_refusal_comes_later_than_a_turn_would(clock: Clock) -> None:
    admission = Admission(1, 1000, max_wait=10)
    crowd(admission, clock, 9, 9)
    held = held_back(admission, clock, 10)
    assert held[:3] == pytest.approx([0, 0.8, 2.6])
    assert held[6:] == pytest.approx([9.8, 10, 10, 10])
    # Who waited for a thread for so long takes nothing from others.
    late = Ticket(clock.now - 10, 99, "a turn would come in 99 seconds")
    assert [admission.hold_back(late) for _ in range(100)] == [0] * 100


def test_a_place_is_free_again_once_and_only_if_there_was_one(clock: Clock) -> None:
    admission = Admission(1, 1000, max_wait=10)
    crowd(admission, clock, 6, 6)
    tickets = [admission.arrive() for _ in range(3)]
    assert [bool(ticket.refusal) for ticket in tickets] == [False, False, True]
    for ticket in (tickets[2], tickets[0], tickets[0]):
        admission.leave(ticket)
    assert admission.waiting == 1


_FROM_NGINX = {"REMOTE_ADDR": "", "HTTP_X_FORWARDED_FOR": "127.0.0.1"}


@pytest.mark.parametrize(
    ("sender", "is_own"),
    [
        (_FROM_NGINX, True),
        (_FROM_NGINX | {"HTTP_X_FORWARDED_FOR": "::1"}, True),
        (_FROM_NGINX | {"HTTP_X_FORWARDED_FOR": "192.0.2.7"}, False),
        (_FROM_NGINX | {"HTTP_X_FORWARDED_FOR": "192.0.2.7, 127.0.0.1"}, False),
        # The service without NGINX, where every client says of itself what it likes.
        (_FROM_NGINX | {"REMOTE_ADDR": "192.0.2.7"}, False),
        (_FROM_NGINX | {"REMOTE_ADDR": "127.0.0.1"}, False),
        ({"REMOTE_ADDR": ""}, False),
        ({}, False),
    ],
)
def test_the_machine_itself_is_never_refused(app: Flask, picture: bytes, sender: dict[str, str], is_own: bool) -> None:
    assert is_machines_own(sender) == is_own
    environ = {"REMOTE_ADDR": "192.0.2.1", **refused(99), **sender}
    response = app.test_client().post("/predict", data=picture, environ_overrides=environ)
    assert response.status_code == (200 if is_own else 503)


def test_a_request_that_is_let_in_though_refused_gives_its_turn_back() -> None:
    admission = Admission(1, 1000, max_wait=0.01)
    ticket = Ticket(arrived=0, expected_wait=99, refusal="a turn would come in 99 seconds")
    with admission.turn(ticket):
        assert admission.predicting == 1
    admission.leave(ticket)
    assert (admission.predicting, admission.waiting) == (0, 0)
    with turn(admission):
        pass


def test_turns_are_as_many_as_were_said_and_are_given_back_whatever_happens() -> None:
    admission = Admission(2, 1000, max_wait=0.01)
    with pytest.raises(ZeroDivisionError), turn(admission):
        _ = 1 / 0
    for _ in range(2):
        with turn(admission), turn(admission), pytest.raises(BusyError, match=r"no turn within 0\.01 seconds"):
            turn(admission).__enter__()


def test_whoever_gives_way_waits_behind_those_that_wait() -> None:
    admission, had = Admission(1, 1000, max_wait=60), []

    def other(name: str) -> None:
        with turn(admission):
            had.append(name)

    threads = [threading.Thread(target=other, args=(name,)) for name in ("second", "third")]
    with turn(admission) as mine:
        for number, thread in enumerate(threads, 1):
            thread.start()
            wait_until(lambda waiting=number: len(admission._turns._waiting) == waiting, "it waits for a turn")
        had.append("first")
        mine.give_way()
        had.append("first again")
    for thread in threads:
        thread.join()
    assert had == ["first", "second", "third", "first again"]


def test_a_turn_that_did_not_come_back_is_not_given_back_twice() -> None:
    admission, gave_way, end = Admission(1, 1000, max_wait=0.05), threading.Event(), threading.Event()

    def other() -> None:
        with contextlib.suppress(BusyError), turn(admission):
            gave_way.set()
            end.wait()

    with turn(admission) as mine:
        thread = threading.Thread(target=other)
        thread.start()
        wait_until(lambda: admission._turns._waiting, "it waits for a turn")
        for _ in range(2):
            with pytest.raises(BusyError, match="no turn within"):
                mine.give_way()
        assert gave_way.is_set()
    end.set()
    thread.join()
    with turn(admission), pytest.raises(BusyError):
        turn(admission).__enter__()


def test_all_turns_together_have_so_many_pixels_and_give_them_back() -> None:
    admission = Admission(3, 1000, max_wait=0.01)
    with turn(admission) as first:
        first.hold_pixels(600)
        with turn(admission) as second:
            second.hold_pixels(400)
            with turn(admission) as third, pytest.raises(BusyError, match="no room for 1 pixels within"):
                third.hold_pixels(1)
        with turn(admission) as second, pytest.raises(BusyError):
            second.hold_pixels(401)
        first.give_way()
        with turn(admission) as second:
            second.hold_pixels(1000)


def test_who_has_no_thread_to_wait_in_is_called_when_its_turn_comes() -> None:
    admission, called = Admission(1, 1000, max_wait=60), []
    tickets = [admission.arrive() for _ in range(3)]
    for number, ticket in enumerate(tickets):
        admission.call(ticket, lambda number=number: called.append(number))
    assert (called, admission.predicting, admission.waiting) == ([0], 1, 2)
    with admission.turn(tickets[0]) as first:
        first.hold_pixels(1000)
    # It keeps its turn, and no pixels, until it leaves.
    assert called == [0]
    assert admission.process.numbers.pixels == 0
    admission.leave(tickets[0])
    assert called == [0, 1]
    # Who asked for no prediction gives its turn back as well.
    admission.leave(tickets[1])
    assert called == [0, 1, 2]
    admission.leave(tickets[2])
    assert (admission.predicting, admission.waiting) == (0, 0)


def test_who_is_called_while_it_waits_for_its_next_picture_goes_on_in_its_thread() -> None:
    admission, called = Admission(1, 1000, max_wait=60), []
    several, other = admission.arrive(), admission.arrive()
    admission.call(several, lambda: called.append("several"))

    def end_other() -> None:
        called.append("other")
        threading.Timer(0.05, admission.leave, [other]).start()

    admission.call(other, end_other)
    with admission.turn(several) as its_turn:
        its_turn.give_way()
        called.append("several again")
    assert called == ["several", "other", "several again"]


def test_what_a_picture_does_not_need_any_more_is_for_others() -> None:
    admission = Admission(2, 1000, max_wait=0.01)
    with turn(admission) as first, turn(admission) as second:
        first.hold_pixels(1000)
        first.hold_pixels(100)
        second.hold_pixels(900)
        with pytest.raises(BusyError, match="no room for 101 pixels"):
            first.hold_pixels(101)
    with turn(admission) as first:
        first.hold_pixels(1000)


def test_many_small_pictures_do_not_keep_a_large_one_out() -> None:
    admission, had = Admission(3, 1000, max_wait=60), []

    def other(pixels: int) -> None:
        with turn(admission) as its_turn:
            its_turn.hold_pixels(pixels)
            had.append(pixels)

    threads = [threading.Thread(target=other, args=(pixels,)) for pixels in (1000, 10)]
    with turn(admission) as mine:
        mine.hold_pixels(500)
        threads[0].start()
        wait_until(lambda: admission.process.numbers.wants_pixels, "the large one waits")
        threads[1].start()
        wait_until(lambda: admission.predicting == 3, "the small one has its turn")
        had.append(500)
    for thread in threads:
        thread.join()
    assert had == [500, 1000, 10]


def test_a_large_picture_that_gave_up_lets_a_small_one_in() -> None:
    admission, waits = Admission(3, 1000, max_wait=0.2), []

    def large() -> None:
        with contextlib.suppress(BusyError), turn(admission) as its_turn:
            its_turn.hold_pixels(1000)

    def small() -> None:
        admission.max_wait = 60
        with turn(admission) as its_turn:
            waits.append(True)
            its_turn.hold_pixels(10)
            waits.append(False)

    with turn(admission) as mine:
        mine.hold_pixels(500)
        threads = [threading.Thread(target=target) for target in (large, small)]
        threads[0].start()
        wait_until(lambda: admission.process.numbers.wants_pixels, "the large one waits")
        threads[1].start()
        for thread in threads:
            thread.join()
    assert waits == [True, False]


def test_no_turn_in_time_is_503_with_retry_after(
    roadsigns: Detector, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = replace(roadsigns, settings=roadsigns.settings.model_copy(update={"max_wait": 0.05}))
    app = create_app(detector)
    client = app.test_client()
    with all_turns_taken(app), monkeypatch.context() as patch:
        patch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
        response = client.post("/predict", data=picture)
    assert_problem(response, 503)
    assert response.headers["Retry-After"] == "1"
    assert client.post("/predict", data=picture).status_code == 200


def test_who_would_wait_too_long_is_told_how_long_before_the_picture_is_read(
    app: Flask, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barevision.api.uploads.read_body", lambda: pytest.fail("read"))
    response = app.test_client().post("/predict", data=picture, environ_overrides=refused(12.3))
    assert "a turn would come in 12.3 seconds" in assert_problem(response, 503)["detail"]
    assert response.headers["Retry-After"] == "13"


def test_who_waited_for_longer_than_anybody_expected_is_told_so(app: Flask, picture: bytes) -> None:
    ticket = app.extensions["barevision"].admission.arrive()
    ticket.arrived -= 21
    response = app.test_client().post("/predict", data=picture, environ_overrides={TICKET: ticket})
    assert "the turn came only after 20 seconds" in assert_problem(response, 503)["detail"]


def test_what_is_wrong_with_a_picture_frees_its_place(app: Flask) -> None:
    admission = app.extensions["barevision"].admission
    assert app.test_client().post("/predict", data=b"no picture").status_code == 400
    assert (admission.predicting, admission.waiting) == (0, 0)


def test_what_asks_for_no_prediction_is_answered_while_all_turns_are_taken(app: Flask) -> None:
    client = app.test_client()
    paths = (
        "/healthz",
        "/readyz",
        "/metrics",
        "/info",
        "/docs",
        "/openapi.json",
        "/v1/status/ping",
        "/v2/health/ready",
    )
    with all_turns_taken(app):
        for path in paths:
            assert client.get(path).status_code == 200, path
