"""What is measured of a contestant that runs: its start, closed loops, open loops, its memory and its answers."""

from __future__ import annotations

import json
import statistics
import time
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import load, processes
from benchmarks.contestants import Running
from benchmarks.load import Response
from benchmarks.networks import picture

# Longer than that no load lasts: 128 clients of a network that takes a second need minutes for two rounds.
_LONGEST = 30
# Until what was asked for is worked off.
_SECONDS_TO_SETTLE = 60
_SHARES = (0.5, 0.9, 1.5, 4.0)


@dataclass(frozen=True)
class Amount:
    """How much is measured.

    :ivar seconds: that a closed loop is counted, at least; an open one is three times as long.
    :ivar clients: of the closed loops.
    :ivar large: whether the 12-megapixel picture is sent as well.
    :ivar opened: whether there are open loops.
    """

    seconds: float
    clients: tuple[int, ...]
    large: bool
    opened: bool


def measured(running: Running, amount: Amount) -> Iterator[dict]:
    """All of a contestant's results; each says by "what" what was measured."""
    small = picture("640x480")
    first, answer = _first(running, small)
    yield {
        "what": "start",
        "ready_seconds": running.ready_seconds,
        "first_seconds": first,
        "memory": processes.memory(running.pids()),
        "answer": answer,
    }
    rate = 1 / first
    for clients in amount.clients:
        result = closed(running, small, clients, amount.seconds, rate)
        yield {"what": "closed", "picture": "640x480", "clients": clients, **result}
        rate = max(rate, result["rate"]) if clients > amount.clients[0] else result["rate"] or rate
    if amount.large:
        large = picture("12 megapixels")
        seconds, _ = _first(running, large)
        result = closed(running, large, 8, amount.seconds, 1 / seconds)
        yield {"what": "closed", "picture": "12 megapixels", "clients": 8, **result}
    if amount.opened and running.url:
        for share in _SHARES:
            yield {"what": "open", "share": share, **opened(running, small, share * rate, 3 * amount.seconds)}


def _first(running: Running, path: Path) -> tuple[float, list[dict]]:
    """The seconds that the first answer takes, and the answer."""
    start = time.monotonic()
    if running.ask:
        (answer,) = running.ask({"answers": [str(path)]})
    else:
        request = urllib.request.Request(running.url, path.read_bytes(), {"Content-Type": "image/jpeg"})
        # A proxy of the environment is not for this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=120) as response:
            answer = json.load(response)
    return time.monotonic() - start, answer


def closed(running: Running, path: Path, clients: int, seconds: float, rate: float) -> dict:
    """What `clients` get that ask all the time: `load.summarized`, with memory, processor time and what disturbed.

    :param rate: answers a second as far as known. What comes in the first clients / rate seconds isn't counted, because
        all began at once; as much again is, at least.
    """
    lead = max(0.5, clients / rate)
    counted = max(seconds, clients / rate)
    if lead + counted > _LONGEST:
        lead = counted = _LONGEST / 2
    with _Costs(running) as costs:
        begin = time.time()
        if running.ask:
            order = {"picture": str(path), "clients": clients, "seconds": lead + counted}
            responses = [Response(start / 1e6, status, took / 1e6) for start, status, took in running.ask(order)]
            spent = 0.0
        else:
            responses, spent = load.closed_loop(running.url, path, clients, lead + counted)
    begin = min((response.start for response in responses), default=begin) + lead
    return load.summarized(responses, begin, begin + counted) | costs.results(len(_good(responses)), spent)


def opened(running: Running, path: Path, rate: float, seconds: float) -> dict:
    """What comes of `rate` requests a second, counted from a quarter of `seconds` on, and of one client right after.

    :returns: `load.summarized` with "offered" a second, "sent", "lost" (no answer at all), "health" by path, and
        "after", the median seconds of a client alone afterwards.
    """
    with _Costs(running) as costs:
        begin = time.time()
        with load.watched(running.url, running.health) as health:
            responses, spent = load.open_loop(running.url, path, rate, seconds)
    after, _ = load.closed_loop(running.url, path, 1, 2)
    count, period = load.arrivals(rate)
    sent = max(1, round(count * seconds * 1000 / period))
    begin = min((response.start for response in responses), default=begin)
    return {
        **load.summarized(responses, begin + seconds / 4, begin + seconds),
        **costs.results(len(_good(responses)), spent),
        "offered": count * 1000 / period,
        "sent": sent,
        "lost": sent - sum(response.status > 0 for response in responses),
        "health": health,
        "after": statistics.median([response.seconds for response in _good(after)] or [float("nan")]),
    }


def _good(responses: Iterable[Response]) -> list[Response]:
    return [response for response in responses if response.status == 200]


class _Costs:
    """What a load costs: from its begin until the contestant has nothing left to do."""

    def __init__(self, running: Running) -> None:
        self._running = running

    def __enter__(self) -> _Costs:
        self._begin, self._busy = time.monotonic(), processes.busy_seconds()
        self._own = processes.processor_seconds(self._running.pids())
        return self

    def __exit__(self, *failure: object) -> None:
        self.memory = processes.memory(self._running.pids())
        # Requests whose clients are gone are worked off before the next load comes.
        _settle(self._running)
        pids = self._running.pids()
        self._own = processes.processor_seconds(pids) - self._own
        self._busy = processes.busy_seconds() - self._busy
        self._seconds = time.monotonic() - self._begin

    def results(self, answers: int, load_seconds: float) -> dict:
        """ "memory" in bytes, "processor_seconds" a good answer, and cores that h2load and others took meanwhile."""
        return {
            "memory": self.memory,
            "processor_seconds": self._own / answers if answers else None,
            "load_cores": load_seconds / self._seconds,
            "other_cores": max(0.0, self._busy - self._own - load_seconds) / self._seconds,
        }


def _settle(running: Running) -> None:
    end = time.monotonic() + _SECONDS_TO_SETTLE
    while time.monotonic() < end:
        before = processes.processor_seconds(running.pids())
        time.sleep(0.3)
        if processes.processor_seconds(running.pids()) - before < 0.05:
            return


def agreement(expected: list[dict], answer: list[dict]) -> tuple[int, int]:
    """How many of the `expected` detections `answer` has, with the same label and half of the box; and of how many."""
    left, matched = list(answer), 0
    for one in expected:
        match = next((other for other in left if other["label"] == one["label"] and _overlap(one, other) >= 0.5), None)
        if match is not None:
            left.remove(match)
            matched += 1
    return matched, len(expected)


def _overlap(one: dict, other: dict) -> float:
    """Intersection over union of two boxes (x, y, width, height)."""
    (x, y, w, h), (u, v, k, m) = one["boxes"], other["boxes"]
    common = max(0, min(x + w, u + k) - max(x, u)) * max(0, min(y + h, v + m) - max(y, v))
    return common / max(1, w * h + k * m - common)
