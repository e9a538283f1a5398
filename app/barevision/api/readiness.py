"""Whether the service answers rightly: at its start, and lately.

Each prediction that succeeds shows it. Where none did for a while, the golden image is asked again, in a thread of its
own, so that no client waits for it.

An inference that never returns can't be ended, and keeps its turn. A process in which one takes much longer than any
should is not ready, and whoever watches it ends it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from barevision.errors import EngineError, WrongAnswerError
from barevision.processes import Process, only_process

_log = logging.getLogger(__name__)
# Who didn't look for so long stood still, as a stopped process or a machine that is moved does. So did all predictions.
_STOOD_STILL_SECONDS = 3.0
# A prediction counts as hung after so many times what the first one takes, which also warms the engine up, and not
# before a picture of 50 million pixels is decoded on a busy machine, which took 21 seconds at most.
_HUNG_AFTER_TIMES = 20
_HUNG_AFTER_SECONDS = 30.0


@dataclass
class Running:
    """A prediction that is on its way.

    :ivar since: when it began or was last seen to go on, by `time.monotonic`.
    """

    since: float

    def goes_on(self) -> None:
        """Notes that it waited for others, which is no hang of its own."""
        self.since = time.monotonic()


class Readiness:
    """Whether a detector answers rightly, and since when it doesn't answer at all.

    :ivar is_draining: whether the service is about to stop; who serves sets it. Until then it answers as ever.
    :ivar last_success: when a prediction last succeeded, in seconds since 1970; 0 if none did.
    :ivar hung_after: seconds after which a prediction counts as hung.

    :param check: predicts the golden image and says what it found, as `Detector.check`. It is called here once.
    :param ask_after: seconds without a success after which it is called again.
    :param hung_after: None for what follows from how long the first check takes.
    :param process: the one that is meant; the only one of its service if None.
    """

    def __init__(
        self,
        check: Callable[[], str],
        ask_after: float,
        hung_after: float | None = None,
        process: Process | None = None,
    ) -> None:
        self._check, self._ask_after = check, ask_after
        self._process = process or only_process()
        self._running: dict[int, Running] = {}
        self._lock = threading.Lock()
        self._asking: threading.Thread | None = None
        self._is_right = self._is_hung = False
        self._finding = ""
        self.is_draining: Callable[[], bool] = lambda: False
        self.last_success = 0.0
        begin = time.monotonic()
        self._ask()
        self._last_look = time.monotonic()
        self.hung_after = hung_after or max(_HUNG_AFTER_SECONDS, _HUNG_AFTER_TIMES * (self._last_look - begin))
        self.show()

    @property
    def is_ready(self) -> bool:
        """Whether all processes of the service answer rightly, and it goes on."""
        others = [other for other in self._process.others() if other.pid]
        return self._is_well and all(other.is_ready for other in others) and not self.is_draining()

    @property
    def _is_well(self) -> bool:
        """Whether this process's last answer that was checked is right, and no prediction hangs."""
        return self._is_right and not self._is_hung

    @property
    def finding(self) -> str:
        """What the last check or look said, in words."""
        if not self._is_well:
            return self._finding
        if self.is_draining():
            return "the service is about to stop"
        return self._finding if self.is_ready else "another process of the service is not ready; its log says why"

    @property
    def oldest_seconds(self) -> float:
        """For how long the oldest prediction has been running; 0 if none is."""
        with self._lock:
            since = min((running.since for running in self._running.values()), default=None)
        return 0.0 if since is None else time.monotonic() - since

    def show(self) -> None:
        """Shows the other processes how this one is."""
        numbers = self._process.numbers
        numbers.is_ready, numbers.last_success = self._is_well, self.last_success
        numbers.oldest_seconds = self.oldest_seconds

    @contextlib.contextmanager
    def predicting(self) -> Iterator[Running]:
        """Around each prediction; what ends without an error is a success."""
        running = Running(time.monotonic())
        with self._lock:
            self._running[id(running)] = running
        try:
            yield running
            self.last_success = time.time()
            # What no check has found wrong is seen to be right by a success.
            if self._is_right:
                self._last_asked = time.monotonic()
        finally:
            with self._lock:
                del self._running[id(running)]

    def look(self) -> bool:
        """Sees whether predictions go on, and has the golden image asked for if none succeeded lately.

        To be called every second.

        :returns: False once a prediction hangs; `finding` says so then.
        """
        now = time.monotonic()
        since_look, self._last_look = now - self._last_look, now
        if since_look > _STOOD_STILL_SECONDS:
            with self._lock:
                for running in self._running.values():
                    running.since = min(now, running.since + since_look)
        oldest = self.oldest_seconds
        if oldest > self.hung_after:
            self._is_hung = True
            self._finding = f"a prediction has been running for {oldest:.0f} seconds"
        self.show()
        if self._is_hung:
            return False
        is_asking = self._asking is not None and self._asking.is_alive()
        if now - self._last_asked > self._ask_after and not is_asking:
            self._asking = threading.Thread(target=self._ask, name="golden", daemon=True)
            self._asking.start()
        return True

    def _ask(self) -> None:
        try:
            with self.predicting():
                self._finding = self._check()
        # Whatever goes wrong, it is no right answer.
        except Exception as error:
            if self._is_right or not self._finding:
                is_known = isinstance(error, EngineError | WrongAnswerError)
                _log.error("not ready: %s", error, exc_info=not is_known)
            self._is_right, self._finding = False, str(error)
        else:
            self._is_right = True
        self._last_asked = time.monotonic()
