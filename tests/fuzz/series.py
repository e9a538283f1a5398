"""A series of requests to the service, and what came of it."""

from __future__ import annotations

import itertools
import statistics
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from barevision.models.catalogue import find_source
from tests.fuzz.pictures import KINDS, encode
from tests.fuzz.requests import Sent, make_request
from tests.fuzz.service import Service

_SAMPLE_EVERY = 50
_LONGEST_SIDE = 500


@dataclass
class Outcome:
    """What a series came to.

    :ivar statuses: how many answers had which status; None is no answer.
    :ivar faults: statuses 500 and more, and missing answers, by the number of their request.
    :ivar memory: the worker's bytes after every fiftieth request, with its number.
    :ivar slowest: seconds and number of the request that took longest.
    """

    statuses: Counter = field(default_factory=Counter)
    faults: dict[int, str] = field(default_factory=dict)
    memory: list[tuple[int, int]] = field(default_factory=list)
    slowest: tuple[float, int] = (0, 0)

    def growth(self, first: int) -> int:
        """By how many bytes the worker is larger at the end, in the last tenth, than after the `first` requests."""
        after = [size for number, size in self.memory if number >= first]
        return round(statistics.median(after[-max(1, len(after) // 10) :])) - after[0]


def seed_pictures(photos: Iterable[Path]) -> list[bytes]:
    """The `photos`, or else the embedded model's golden image, as files of every kind."""
    pictures = [Image.open(path) for path in photos] or [Image.open(_golden())]
    for picture in pictures:
        picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    turns = itertools.cycle(pictures)
    return [encode(next(turns), kind) for kind in KINDS]


def _golden() -> Path:
    return find_source("roadsigns").folder / "golden.jpg"


def run_series(
    service: Service,
    seed: int,
    numbers: range,
    pictures: list[bytes],
    clients: int = 4,
    progress: Callable[[int], None] = lambda done: None,
) -> Outcome:
    """Sends the requests `numbers` of the series `seed` from so many `clients` at once."""
    outcome, lock, left = Outcome(), threading.Lock(), iter(numbers)

    def client() -> None:
        while (number := _next(left, lock)) is not None:
            request = make_request(seed, number, pictures)
            start = time.perf_counter()
            try:
                status, answer = service.ask(request.head + request.body, request.framed)
            except TimeoutError:
                status, answer = None, b"no answer in time"
            seconds = time.perf_counter() - start
            with lock:
                _note(outcome, request, status, answer)
                outcome.slowest = max(outcome.slowest, (seconds, number))
                done = sum(outcome.statuses.values())
                if done % _SAMPLE_EVERY == 0:
                    outcome.memory.append((done, service.memory()))
                    progress(done)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcome


def _next(left: Iterable[int], lock: threading.Lock) -> int | None:
    with lock:
        return next(left, None)


def _note(outcome: Outcome, request: Sent, status: int | None, answer: bytes) -> None:
    outcome.statuses[status] += 1
    missing = status is None and (request.framed or answer)
    if missing or (status or 0) >= 500:
        outcome.faults[request.number] = f"{status} {answer[:300]!r} for {request.head.splitlines()[0][:200]!r}"


def large_png(side: int) -> bytes:
    """A black PNG of `side` x `side` pixels, three kilobytes a megapixel, made row by row."""
    compress = zlib.compressobj(9)
    row = bytes(1 + 3 * side)
    packed = b"".join([*(compress.compress(row) for _ in range(side)), compress.flush()])
    chunks = ((b"IHDR", struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
