"""The one way from a request to what is on its pictures, whichever dialect asked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from flask import request
from werkzeug.exceptions import ClientDisconnected

from barevision.api.admission import stop_if_client_is_gone
from barevision.api.record import record
from barevision.api.service import service
from barevision.detection.selection import Selection
from barevision.detector import Answer, Stopwatch
from barevision.errors import BusyError

#: From an encoded picture and what to select to an answer; and from the longest side allowed, for one to be drawn on.
Predict = Callable[..., Answer]


@contextlib.contextmanager
def turn() -> Iterator[Predict]:
    """The current request's turn: its body is read, decoded and predicted within, not before.

    :raises BusyError: no place or no turn.
    """
    watch = Stopwatch()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(service.door.enter(request.environ))
            with service.metrics.waiting.track_inprogress():
                stack.enter_context(service.detector.turn())
        except BusyError:
            service.metrics.refused.inc()
            raise
        finally:
            watch.lap("wait")
            record().lap("wait", watch.seconds["wait"])
        stack.enter_context(service.metrics.in_flight.track_inprogress())
        yield _predict


def _predict(data: bytes, selection: Selection, max_side: int | None = None) -> Answer:
    found = record()
    try:
        stop_if_client_is_gone(request.environ)
    except ClientDisconnected:
        found.gone = True
        raise
    answer = service.detector.answer(data, selection, max_side, whole=max_side is not None)
    for stage, seconds in answer.seconds.items():
        found.lap(stage, seconds)
    height, width = answer.size
    found.sizes.append([width, height])
    found.objects = (found.objects or 0) + len(answer.objects)
    return answer
