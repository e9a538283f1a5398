"""The one way from a request to what is on its pictures, whichever dialect asked.

::

    with turn():
        (upload,) = read_sent().uploads
        answer = predict(upload.read(), selection)
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from flask import request
from werkzeug.exceptions import ClientDisconnected

from barevision.api.record import current_record
from barevision.api.service import current_service
from barevision.detection.selection import Selection
from barevision.detector import Answer
from barevision.errors import BusyError


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """The current request's turn: its body is read, decoded and predicted within, not before.

    :raises BusyError: no place, or no turn in time.
    """
    service = current_service()
    with contextlib.ExitStack() as stack:
        try:
            with current_record().timed("wait"):
                stack.enter_context(service.admission.place(request.environ))
                with service.metrics.waiting.track_inprogress():
                    stack.enter_context(service.admission.turn())
        except BusyError:
            service.metrics.refused.inc()
            raise
        stack.enter_context(service.metrics.in_flight.track_inprogress())
        yield


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
