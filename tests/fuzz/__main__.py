"""Sends damaged pictures and requests to the real service and prints what came of it.

    .venv/bin/python -m tests.fuzz [--requests N] [--seed S] [--photos FOLDER] [--only NUMBER]

The service is a Gunicorn on a Unix socket, started and stopped here. The exit status is 1 if an answer was a 5xx or
missing, if a worker was replaced, or if the worker grew by more than 50 MB after the first thousand requests.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.requests import make_request
from tests.fuzz.series import large_png, run_series, seed_pictures
from tests.fuzz.service import Service, running_service
from tests.support.assets import ASSETS

_PHOTOS = ASSETS / "photos"
_SETTLED = 1000
_LEAST = 200
_MEGABYTE = 10**6
_MAX_GROWTH = 50 * _MEGABYTE


def main() -> int:
    """Runs the series; 0 if the service stood it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=_count, default=20_000, help="how many (default: 20000)")
    parser.add_argument("--seed", type=int, default=1, help="another series for another number (default: 1)")
    parser.add_argument("--photos", type=Path, default=_PHOTOS, help=f"folder of .jpg files (default: {_PHOTOS})")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="send this one of the series alone, and print it")
    arguments = parser.parse_args()
    pictures = seed_pictures(sorted(arguments.photos.glob("*.jpg")))
    with tempfile.TemporaryDirectory() as folder, running_service(Path(folder)) as service:
        if arguments.only is not None:
            return _send_one(service, arguments.seed, arguments.only, pictures)
        failed = not _run(service, arguments.seed, arguments.requests, pictures)
        failed |= not _refuses_large_png(service)
        if failed:
            print((Path(folder) / "log").read_text()[-5000:], file=sys.stderr)
        return failed


def _count(text: str) -> int:
    if int(text) < _LEAST:
        raise argparse.ArgumentTypeError(f"{text} are too few to see memory grow, expected at least {_LEAST}")
    return int(text)


def _run(service: Service, seed: int, requests: int, pictures: list[bytes]) -> bool:
    workers, start = service.workers(), time.monotonic()
    tty = sys.stderr.isatty()

    def progress(done: int) -> None:
        if tty or done % 1000 == 0:
            print(f"{done} of {requests}", end="\r" if tty else "\n", file=sys.stderr, flush=True)

    outcome = run_series(service, seed, range(requests), pictures, progress=progress)
    minutes = (time.monotonic() - start) / 60
    print(f"{requests} requests of series {seed}, {len(pictures)} pictures damaged, in {minutes:.1f} minutes")
    print("answers:", ", ".join(f"{count} x {status}" for status, count in outcome.statuses.most_common()))
    print(f"slowest: {outcome.slowest[0]:.1f} s, request {outcome.slowest[1]}")
    for number, fault in outcome.faults.items():
        print(f"request {number}: {fault}")
    replaced = service.workers() != workers
    print("workers replaced:", "yes" if replaced else "none")
    settled = min(_SETTLED, requests // 2)
    growth = outcome.growth(settled)
    sizes = [size for number, size in outcome.memory if number >= settled]
    print(
        f"memory: {sizes[0] / _MEGABYTE:.0f} MB after {settled} requests, {sizes[-1] / _MEGABYTE:.0f} MB at the end, "
        f"{max(sizes) / _MEGABYTE:.0f} MB at most; growth {growth / _MEGABYTE:+.1f} MB"
    )
    tenths = sizes[:: max(1, len(sizes) // 10)]
    print("in between:", " ".join(f"{size / _MEGABYTE:.0f}" for size in tenths), "MB")
    return not outcome.faults and not replaced and growth < _MAX_GROWTH


def _refuses_large_png(service: Service) -> bool:
    data = large_png(10_000)
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
    service.forget_peak()
    before, start = service.memory(), time.perf_counter()
    status, answer = service.ask(head.encode() + data)
    seconds, taken = time.perf_counter() - start, service.memory("VmHWM") - before
    print(
        f"a PNG of 10000x10000 pixels in {len(data) // 1000} kB: {status} after {seconds * 1000:.0f} ms, "
        f"{taken / _MEGABYTE:.1f} MB taken: {answer.decode()}"
    )
    return status == 413 and taken < _MAX_GROWTH


def _send_one(service: Service, seed: int, number: int, pictures: list[bytes]) -> int:
    request = make_request(seed, number, pictures)
    print(request.head.decode("latin-1"), f"({len(request.body)} bytes: {request.body[:200]!r}...)")
    status, answer = service.ask(request.head + request.body, request.framed)
    print(status, answer[:1000])
    return (status or 0) >= 500


if __name__ == "__main__":
    sys.exit(main())
