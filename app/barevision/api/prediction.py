"""The one way from a request to what is on its pictures, whichever dialect asked.

::

    with turn() as mine:
        (upload,) = read_sent().uploads
        answer = mine.predict(upload.read(), selection)
"""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections.abc import Iterator

from flask import request
from werkzeug.exceptions import ClientDisconnected

from barevision.api.admission import Turn, is_machines_own
from barevision.api.record import Record, current_record
from barevision.api.service import Service, current_service
from barevision.detection.selection import Selection
from barevision.detector import Answer
from barevision.errors import BusyError, PictureTooLargeError
from barevision.serving.worker import TICKET

# The pictures of a request may have so many times the pixels of the largest one: twenty photos of 12 megapixels, but
# not twenty of the largest, which a few bytes can be.
_PICTURES_PER_LIMIT = 5
# NGINX gives a request up after 65 seconds. A picture that is begun before this is answered by then.
_SECONDS_TO_BEGIN = 40


@contextlib.contextmanager
def turn() -> Iterator[RequestTurn]:
    """The current request's turn: its body is read, decoded and predicted within, not before.

    :raises BusyError: it would have to wait for too long, or had to.
    """
    service, record = current_service(), current_record()
    admission = service.admission
    # Gunicorn's worker has seen the request arrive and sees it leave; other servers have no queue before the app.
    ticket = request.environ.get(TICKET)
    with contextlib.ExitStack() as stack:
        if ticket is None:
            ticket = admission.arrive()
            stack.callback(admission.leave, ticket)
        with _waiting(ticket.arrived):
            # Others who ask again and again would keep a deployment's smoke test out of a service that is well.
            if ticket.refusal and not is_machines_own(request.environ):
                raise BusyError(ticket.refusal, max(1, math.ceil(ticket.expected_wait)))
            its_turn = stack.enter_context(admission.turn(ticket))
            # The wait was only expected: what is before it may have taken longer.
            longest = min(2 * admission.max_wait, _SECONDS_TO_BEGIN)
            if time.perf_counter() - ticket.arrived > longest:
                raise BusyError(f"the turn came only after {longest:g} seconds")
        yield RequestTurn(service, record, its_turn)


@contextlib.contextmanager
def _waiting(since: float) -> Iterator[None]:
    """Notes how long a request has waited `since` then, and whether it was told to come back."""
    try:
        yield
    except BusyError:
        current_service().metrics.refused.inc()
        raise
    finally:
        current_record().add("wait", time.perf_counter() - since)


class RequestTurn:
    """What the current request does while it has its turn."""

    def __init__(self, service: Service, record: Record, turn: Turn) -> None:
        self._service = service
        self._record = record
        self._turn = turn

    def give_way(self) -> None:
        """Between two pictures: lets others have their turn, and waits for the next one.

        :raises PictureTooLargeError: the request has had its share of pixels.
        :raises BusyError: the request has had its share of time, or there was no turn in time.
        """
        allowed = _PICTURES_PER_LIMIT * self._service.detector.settings.max_pixels
        pixels = sum(width * height for width, height in self._record.sizes)
        if pixels >= allowed:
            raise PictureTooLargeError(
                f"the request's pictures before this one have {pixels} pixels, and no more are begun after {allowed}; "
                "send it in another request"
            )
        if self._record.milliseconds() > _SECONDS_TO_BEGIN * 1000:
            raise BusyError(
                f"the request has taken more than {_SECONDS_TO_BEGIN} seconds; send this picture in another"
            )
        with _waiting(time.perf_counter()):
            self._turn.give_way()

    def predict(
        self, picture: bytes, selection: Selection, max_side: int | None = None, full_size: bool = False
    ) -> Answer:
        """What is on the encoded `picture`.

        :param max_side: the most pixels that a side may have, if less than the setting of this name.
        :param full_size: whether the answer's image has to be in full size, to be drawn on.
        :raises ClientDisconnected: nobody waits for the answer any more.
        :raises PictureError: as `Detector.answer`.
        :raises BusyError: others kept their pixels in memory for too long.
        """
        # NGINX closes its connection when its client gives up. The body was read, so there is nothing else to receive.
        connection = request.environ.get("gunicorn.socket")
        if connection is not None:
            with contextlib.suppress(BlockingIOError):
                if not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    self._record.client_is_gone = True
                    raise ClientDisconnected
        with self._service.readiness.predicting() as running:

            def hold_pixels(pixels: int) -> None:
                self._turn.hold_pixels(pixels)
                running.goes_on()

            answer = self._service.detector.answer(picture, selection, max_side, full_size, hold_pixels)
        for stage, seconds in answer.seconds.items():
            self._record.add(stage, seconds)
        self._service.metrics.count_objects(detection.label for detection in answer.detections)
        height, width = answer.size
        self._record.sizes.append([width, height])
        self._record.detections = (self._record.detections or 0) + len(answer.detections)
        return answer
