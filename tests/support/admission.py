"""A service that has more to do than it can."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from flask import Flask

from barevision.api.admission import Admission, Ticket
from barevision.serving.worker import TICKET


@contextmanager
def all_turns_taken(app: Flask | Admission) -> Iterator[None]:
    """Within, nobody else has a turn."""
    admission = app if isinstance(app, Admission) else app.extensions["barevision"].admission
    with ExitStack() as stack:
        for _ in range(admission.turns):
            ticket = admission.arrive()
            stack.callback(admission.leave, ticket)
            stack.enter_context(admission.turn(ticket))
        yield


def refused(seconds: float) -> dict[str, object]:
    """What Gunicorn's worker adds to the environ of a request that would wait for so many `seconds`."""
    return {TICKET: Ticket(time.perf_counter(), seconds, f"a turn would come in {seconds} seconds")}
