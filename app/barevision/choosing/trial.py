"""Trials of plans, in a process of its own: ``python -m barevision.choosing.trial``.

So it starts from nothing, its memory is given back, and a library that ends the process, as on a processor that it was
not made for, ends that process alone. It reads pickled `Task`s from standard input, and writes a pickled `Finding`, or
the text of what went wrong, to standard output for each. Only `measure` starts it.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import os
import pickle
import re
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from barevision.choosing.agreement import PictureAnswer, best_scores
from barevision.choosing.measure import Finding, Task
from barevision.detection.network_input import to_blob
from barevision.detection.selection import Selection
from barevision.detector import Detector, drawn_image
from barevision.engines import Engine, load_engine
from barevision.errors import BarevisionError
from barevision.objects import MARGIN
from barevision.pictures.decode import decode_reduced

_SPAN_SECONDS = 0.1
# A service's limits keep strangers' pictures out; these are the user's own.
_MAX_PIXELS = 100_000_000


def run_trial(task: Task) -> Finding:
    """Runs the network by the plan, in this process.

    :raises EngineError: the engine can't run it, or not by this plan.
    :raises WrongAnswerError: it answers NaN, or with fewer bits than f32 not what the golden image's answer is.
    :raises PictureError: a picture can't be decoded.
    """
    cv2.setNumThreads(1)
    engine = load_engine(task.plan, task.model.path)
    detector = Detector(task.model, engine, task.settings)
    if task.plan.precision != "f32":
        # A plan that is chosen has to pass it. What f32 misses is the model's own fault, which is reported as such.
        detector.check()
    answers = _answer(detector, task)
    blob = to_blob(drawn_image(), engine.input_size, task.model.head.fit)
    engine.infer(blob)
    rate = _best_rate(engine, blob, task.plan.streams, task.seconds)
    alone = 1 / (_best_rate(engine, blob, 1, task.seconds) if task.plan.streams > 1 else rate)
    # The process's share of what it shares, in kibibytes.
    kibibytes = re.search(r"^Pss: +(\d+) kB$", Path("/proc/self/smaps_rollup").read_text("utf-8"), re.MULTILINE)[1]
    return Finding(alone, rate, int(kibibytes) * 1024, answers)


def _answer(detector: Detector, task: Task) -> list[PictureAnswer]:
    """The answers for the first of the task's pictures, as many as its time allows, and one at least."""
    end = time.perf_counter() + task.answer_seconds

    def answer(picture: bytes) -> PictureAnswer | None:
        if picture is not task.pictures[0] and time.perf_counter() > end:
            return None
        image, size = decode_reduced(picture, _MAX_PIXELS)
        rows = detector.infer(image)
        return PictureAnswer(detector.select(rows, size, Selection(Selection.confidence - MARGIN)), best_scores(rows))

    with ThreadPoolExecutor(task.plan.streams) as pool:
        return list(itertools.takewhile(lambda answer: answer is not None, pool.map(answer, task.pictures)))


def _best_rate(engine: Engine, blob: np.ndarray, streams: int, seconds: float) -> float:
    """How many inferences a second the engine does while so many threads ask for them again and again.

    That of the best of many short spans: what else runs on the machine, mostly for a moment, only makes it slower.
    """
    best, end = 0.0, time.perf_counter() + seconds
    if streams > 1:
        # The first inference of a stream takes longer, since it gets its memory.
        _run(engine, blob, streams, 0)
    while best == 0 or time.perf_counter() < end:
        best = max(best, _run(engine, blob, streams, _SPAN_SECONDS))
    return best


def _run(engine: Engine, blob: np.ndarray, streams: int, seconds: float) -> float:
    """The inferences a second of `streams` threads, in so many seconds or what one inference of each takes."""
    begin = threading.Barrier(streams)

    def infer_again_and_again() -> float:
        begin.wait()
        count, began = 0, time.perf_counter()
        while count == 0 or time.perf_counter() < began + seconds:
            engine.infer(blob)
            count += 1
        return count / (time.perf_counter() - began)

    with ThreadPoolExecutor(streams) as pool:
        return sum(future.result() for future in [pool.submit(infer_again_and_again) for _ in range(streams)])


def main() -> None:
    """Runs the trials that standard input describes, one after the other, until it ends."""
    # Libraries print what they like to standard output.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # What the memory of one trial was must not count as that of the next.
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)
    while True:
        try:
            task: Task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        # It must not go on for long without the process that started it.
        signal.alarm(round(task.timeout) + 1)
        try:
            answer = run_trial(task)
        except BarevisionError as error:
            answer = str(error)
        signal.alarm(0)
        pickle.dump(answer, output)
        output.flush()
        gc.collect()
        give_back(0)


if __name__ == "__main__":
    main()
