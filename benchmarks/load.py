"""Load by h2load, and what its log says.

h2load (nghttp2's, in Debian and Ubuntu) because it is written in C++ and asks thousands of times a second on a few
hundredths of a core, which matters where it shares two cores with what it measures; because its log has each request's
start, status and duration, which wrk and hey don't both have; and because it loads in both ways. Closed loop: each of N
clients asks again as soon as it is answered. Open loop: requests come at a constant rate on connections of their own,
whether or not earlier ones were answered.
"""

from __future__ import annotations

import contextlib
import http.client
import math
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

# An open loop's connection that got no answer for so long counts as lost.
_GIVE_UP = 60
#: The wait that a client is promised, in seconds: an answer that comes later is none.
BOUND = 10.0


class Response(NamedTuple):
    """How a request ended: when it began, in seconds since 1970, its status, -1 if it got none, and its seconds."""

    start: float
    status: int
    seconds: float

    @property
    def end(self) -> float:
        return self.start + self.seconds


def closed_loop(url: str, picture: Path, clients: int, seconds: float) -> tuple[list[Response], float]:
    """`clients` ask for `seconds`, rounded up. What is still on its way then counts for nothing.

    :returns: what came, and the seconds of processor time that h2load took.
    """
    options = ["--clients", str(clients), "--duration", f"{math.ceil(seconds)}s"]
    return _h2load(url, picture, options, math.ceil(seconds) + 5)


def open_loop(url: str, picture: Path, rate: float, seconds: float) -> tuple[list[Response], float]:
    """`rate` requests come a second for `seconds`, rounded as `arrivals` says; waits for the last answer.

    :returns: what came, and the seconds of processor time that h2load took.
    """
    count, period = arrivals(rate)
    requests = str(max(1, round(count * seconds * 1000 / period)))
    options = ["--requests", requests, "--clients", requests, "--rate", str(count), "--rate-period", f"{period}ms"]
    options += ["--connection-active-timeout", f"{_GIVE_UP}s"]
    return _h2load(url, picture, options, seconds + _GIVE_UP + 5)


def arrivals(rate: float) -> tuple[int, int]:
    """How many requests every how many milliseconds come nearest to `rate` a second, the shortest such period."""
    periods = range(1, 10_001)
    best = min(periods, key=lambda period: (_miss(rate, period) > 0.01, period if _miss(rate, period) <= 0.01 else 1))
    return max(1, round(rate * best / 1000)), best


def _miss(rate: float, period: int) -> float:
    return abs(max(1, round(rate * period / 1000)) * 1000 / period / rate - 1)


def _h2load(url: str, picture: Path, options: Sequence[str], longest: float) -> tuple[list[Response], float]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        command = ["h2load", "--h1", "--data", str(picture), "--header", "content-type: image/jpeg", "--log-file", log]
        before = os.times()
        # Where a server closes connections, h2load 1.52 now and then waits for ever after its time is over.
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                [*command, *options, url], capture_output=True, text=True, check=False, timeout=longest
            )
            if done.returncode != 0:
                raise RuntimeError(f"h2load failed: {done.stderr or done.stdout}")
        after = os.times()
        spent = after.children_user - before.children_user + after.children_system - before.children_system
        return parsed(log.read_text()), spent


def parsed(log: str) -> list[Response]:
    """The lines of h2load's log: start in microseconds since 1970, status, microseconds until the answer's end."""
    rows = (line.split("\t") for line in log.splitlines())
    return [Response(int(start) / 1e6, int(status), int(took) / 1e6) for start, status, took, *_ in rows]


def summarized(responses: Sequence[Response], begin: float, end: float) -> dict:
    """What came between `begin` and `end`, in seconds since 1970.

    :returns: "rate" of good answers a second and "in_time" of those within the bound; "p50", "p95", "p99" and "max" of
        good answers in seconds; "statuses" by number; "refused_p50" and "refused_p99" of those that were refused.
    """
    counted = [response for response in responses if begin < response.end <= end]
    good = [response.seconds for response in counted if response.status == 200]
    refused = [response.seconds for response in counted if response.status in (429, 503)]
    return {
        "rate": len(good) / (end - begin),
        "in_time": sum(seconds <= BOUND for seconds in good) / (end - begin),
        "statuses": dict(sorted(Counter(str(response.status) for response in counted).items())),
        **{f"p{share}": percentile(good, share) for share in (50, 95, 99)},
        "max": max(good, default=None),
        "refused_p50": percentile(refused, 50),
        "refused_p99": percentile(refused, 99),
    }


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest of `values` that `share` percent of them don't exceed; None if there are none."""
    return float(np.percentile(values, share, method="inverted_cdf")) if len(values) else None


@contextlib.contextmanager
def watched(url: str, paths: Sequence[str]) -> Iterator[dict[str, dict]]:
    """Asks for each of `paths` four times a second meanwhile; at the end, how long it took and how often it failed."""
    seen: dict[str, dict] = {}
    stop = threading.Event()
    host = url.partition("://")[2].partition("/")[0]

    def watch(path: str) -> None:
        times, failures = [], 0
        while not stop.wait(0.25):
            start = time.monotonic()
            if get(host, path) == 200:
                times.append(time.monotonic() - start)
            else:
                failures += 1
        median = statistics.median(times) if times else None
        seen[path] = {
            "asked": len(times) + failures,
            "failed": failures,
            "p50": median,
            "max": max(times, default=None),
        }

    threads = [threading.Thread(target=watch, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def get(host: str, path: str) -> int | None:
    """The status of `GET path`; None where nothing answers within the bound."""
    connection = http.client.HTTPConnection(host, timeout=BOUND)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
