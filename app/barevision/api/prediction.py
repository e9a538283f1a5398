"""The one way from a request to what is on its pictures, whichever dialect asked.

::

    with turn():
        (upload,) = read_sent().uploads
        answer = predict(upload.read(), selection)
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

from flask import request
from werkzeug.exceptions import ClientDisconnected

from barevision.api.record import current_record
from barevision.api.service import current_service
from barevision.detection.selection import Selection
from barevision.detector import Answer
from barevision.errors import BusyError, PictureTooLargeError

# The pictures of a request may have so many times the pixels of the largest one: twenty photos of 12 megapixels, but
# not twenty of the largest, which a few bytes can be.
_PICTURES_PER_LIMIT = 5
# NGINX gives a request up after 65 seconds. A picture that is begun before this is answered by then.
_SECONDS_TO_BEGIN = 40


@contextlib.contextmanager
def turn() -> Iterator[Callable[[], None]]:
    """The current request's turn: its body is read, decoded and predicted within, not before.

    What it gives is to be called between two pictures: it lets others have their turn and waits for the next one. It
    raises `PictureTooLargeError` or `BusyError` once the request has had its share of pixels or time.

    :raises BusyError: no place, or no turn in time.
    """
    service = current_service()
    in_flight = service.metrics.in_flight
    with contextlib.ExitStack() as stack:
        with _waiting():
            stack.enter_context(service.admission.place(request.environ))
            give_way = stack.enter_context(service.admission.turn())
        stack.enter_context(in_flight.track_inprogress())

        def next_turn() -> None:
            _check_share()
            in_flight.dec()
            try:
                with _waiting():
                    give_way()
            finally:
                in_flight.inc()

        yield next_turn


def _check_share() -> None:
    record, allowed = current_record(), _PICTURES_PER_LIMIT * current_service().detector.settings.max_pixels
    pixels = sum(width * height for width, height in record.sizes)
    if pixels >= allowed:
        raise PictureTooLargeError(
            f"the request's pictures before this one have {pixels} pixels, and no more are begun after {allowed}; "
            "send it in another request"
        )
    if record.milliseconds() > _SECONDS_TO_BEGIN * 1000:
        raise BusyError(f"the request has taken more than {_SECONDS_TO_BEGIN} seconds; send this picture in another")


@contextlib.contextmanager
def _waiting() -> Iterator[None]:
    metrics = current_service().metrics
    try:
        with current_record().timed("wait"), metrics.waiting.track_inprogress():
            yield
    except BusyError:
        metrics.refused.inc()
        raise


def predict(picture: bytes, selection: Selection, max_side: int | None = None, full_size: bool = False) -> Answer:
    """What is on the encoded `picture`, for the current request, which has its turn.

    :param max_side: the most pixels that a side may have, if less than the setting of this name.
    :param full_size: whether the answer's image has to be in full size, to be drawn on.
    :raises ClientDisconnected: nobody waits for the answer any more.
    :raises PictureError: as `Detector.answer`.
    """
    record = current_record()
    # NGINX closes its connection when its client gives up. The body was read, so there is nothing else to receive.
    connection = request.environ.get("gunicorn.socket")
    if connection is not None:
        with contextlib.suppress(BlockingIOError):
            if not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                record.client_is_gone = True
                raise ClientDisconnected
    answer = current_service().detector.answer(picture, selection, max_side, full_size)
    for stage, seconds in answer.seconds.items():
        record.add(stage, seconds)
    height, width = answer.size
    record.sizes.append([width, height])
    record.detections = (record.detections or 0) + len(answer.detections)
    return answer
