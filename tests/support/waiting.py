"""Waiting for what another thread, process or machine does."""

from __future__ import annotations

import time
from collections.abc import Callable

_PAUSE = 0.05


def wait_until(condition: Callable[[], object], what: str | Callable[[], str], timeout: float = 60) -> None:
    """Asks `condition` again and again until it is true. What it raises ends the waiting.

    :param what: what is waited for; or a function that says it when it did not come, such as one that reads a log.
    :param timeout: in seconds.
    :raises AssertionError: `condition` was not true in time.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} seconds: {what() if callable(what) else what}")
        time.sleep(_PAUSE)
