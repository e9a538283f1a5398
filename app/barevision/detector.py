"""A model on an engine: pictures in, answers out. What the service and the command line share."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from barevision.detection.network_input import of_picture, to_blob
from barevision.detection.network_output import to_rows
from barevision.detection.selection import Detection, Selection, class_colors, clip, select_detections
from barevision.engines import Engine, load_engine
from barevision.errors import (
    BusyError,
    PictureError,
    PictureTooLargeError,
    SideTooLongError,
    UnknownLabelError,
    WrongAnswerError,
)
from barevision.models.catalogue import find_source
from barevision.models.download import Progress
from barevision.models.golden import differences
from barevision.models.prepare import PreparedModel, prepare
from barevision.pictures.decode import decode_image, decode_reduced
from barevision.settings import Settings

# A reduced picture has so many times the pixels of the network's input on each side.
_REDUCED_SIDES = 2
_TIMED_INFERENCES = 5


class Stopwatch:
    """Where time goes: `seconds` by the name of each lap."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Notes the time since the start or the last lap as that of `name`."""
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now


@dataclass(frozen=True)
class Answer:
    """What is on a picture.

    :ivar objects: what `/predict` answers: most confident first.
    :ivar image: the decoded, turned picture, uint8 (height, width, 3) BGR; smaller than it is, if it may be.
    :ivar size: (height, width) of the turned picture in pixels, which boxes are in.
    :ivar seconds: how long the steps decode, infer and select took.
    """

    objects: list[dict]
    image: np.ndarray
    size: tuple[int, int]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Detector:
    """A loaded model. `predict` may be called from several threads at once; `turn` bounds how many do.

    :ivar turns: as many as the setting `concurrency`; see `turn`.
    :ivar settings: what the model was loaded with, and what answers go by where a request says nothing else.
    """

    model: PreparedModel
    engine: Engine
    turns: threading.BoundedSemaphore
    settings: Settings

    def selection(
        self,
        confidence: float | None = None,
        nms: float | None = None,
        classes: Collection[str] | None = None,
        limit: int | None = None,
        per_class_nms: bool = False,
    ) -> Selection:
        """What to select, with the settings' thresholds where none are given.

        :param classes: labels of the model.
        :raises UnknownLabelError: the model has no such label.
        """
        unknown = sorted(set(classes or ()) - set(self.model.labels))
        if unknown:
            known = ", ".join(self.model.labels)
            raise UnknownLabelError(f"the model has no class {', '.join(unknown)}; it has {known}")
        return Selection(
            self.settings.confidence if confidence is None else confidence,
            self.settings.nms if nms is None else nms,
            per_class_nms,
            None if classes is None else frozenset(n for n, label in enumerate(self.model.labels) if label in classes),
            limit,
        )

    def answer(
        self, data: bytes, selection: Selection | None = None, max_side: int | None = None, whole: bool = True
    ) -> Answer:
        """What is on the encoded picture `data`. The caller has a turn.

        :param max_side: the most pixels that a side may have, if less than the setting of this name.
        :param whole: the answer's image is wanted in full size; otherwise it is what the setting `reduce_jpegs` leaves.
        :raises SideTooLongError: a side is longer than the parameter `max_side`.
        :raises PictureError: no picture, a damaged one or one that is too large by the settings.
        :raises WrongAnswerError: as `predict`.
        """
        watch = Stopwatch()
        image, size = self._decode(data, max_side, self.settings.reduce_jpegs and not whole)
        watch.lap("decode")
        objects = self.predict(image, selection, watch, size)
        return Answer(objects, image, size, watch.seconds)

    def _decode(self, data: bytes, max_side: int | None, reduced: bool) -> tuple[np.ndarray, tuple[int, int]]:
        allowed = self.settings.max_side
        height, width = self.engine.input_size
        least = (_REDUCED_SIDES * height, _REDUCED_SIDES * width) if reduced else None
        try:
            return decode_reduced(data, self.settings.max_pixels, min(allowed, max_side or allowed), least)
        except SideTooLongError as error:
            if max_side and max_side < allowed:
                raise
            raise PictureTooLargeError(str(error)) from None

    def predict(
        self,
        image: np.ndarray,
        selection: Selection | None = None,
        watch: Stopwatch | None = None,
        size: tuple[int, int] | None = None,
    ) -> list[dict]:
        """What `/predict` answers for `image`, uint8 (height, width, 3) BGR: most confident first.

        :param selection: what the settings say if None.
        :param watch: is told of the laps "infer" and "select".
        :param size: (height, width) that boxes are answered for; the image's own if None.
        :raises WrongAnswerError: the network answers NaN, which says nothing about the picture.
        """
        watch = watch or Stopwatch()
        rows = self._rows(image)
        watch.lap("infer")
        if np.isnan(rows).any():
            raise WrongAnswerError("the network answers NaN; its weights are damaged or don't fit this engine")
        detections = self._select(rows, size or image.shape[:2], selection or self.selection())
        objects = to_objects(detections, self.model.labels)
        watch.lap("select")
        return objects

    def _rows(self, image: np.ndarray) -> np.ndarray:
        """What the network says of `image`: float32 (rows, 4 + classes), boxes relative to it, scores."""
        head, size = self.model.head, self.engine.input_size
        raw = self.engine.infer(to_blob(image, size, head.fit))
        rows = to_rows(raw, head, size, len(self.model.labels))
        return of_picture(rows, image.shape[:2], size, head.fit)

    def _select(self, rows: np.ndarray, image_size: tuple[int, int], selection: Selection) -> list[Detection]:
        head = self.model.head
        if head.form == "end-to-end":
            # The network chose already; what it left side by side belongs there.
            selection = replace(selection, nms=1.0)
        detections = select_detections(rows, image_size, selection)
        if head.fit == "letterbox":
            # As Ultralytics' predictor does; the tutorial's boxes may stick out.
            detections = [clip(detection, image_size) for detection in detections]
        return detections

    def check(self) -> str:
        """Predicts the golden image and says in a sentence what was checked.

        A model without a golden image is given a drawn one, and only has to answer finite numbers.

        :raises WrongAnswerError: with what is missing, unexpected or not finite, a line each.
        """
        found = self.golden_answer()
        return self._check_form() if found is None else check_answer(self.model.golden.expected, found)

    def golden_answer(self) -> list[dict] | None:
        """What the model answers for its golden image; None if it has none.

        :raises WrongAnswerError: the image can't be predicted.
        """
        golden = self.model.golden
        if golden is None:
            return None
        try:
            image = decode_image(golden.image, self.settings.max_pixels)
        except PictureError as error:
            raise WrongAnswerError(f"the golden image can't be predicted: {error}") from error
        # The golden answer was given at the default thresholds, whatever this service is set to.
        return self.predict(image, Selection())

    def seconds_of_inference(self) -> float:
        """How long the network takes for one picture, the median of a few; the engine is warm after `check`."""
        watch, times = Stopwatch(), []
        for _ in range(_TIMED_INFERENCES):
            self.predict(drawn_picture(), watch=watch)
            times.append(watch.seconds["infer"])
        return statistics.median(times)

    def _check_form(self) -> str:
        rows = self._rows(drawn_picture())
        if not np.isfinite(rows).all():
            raise WrongAnswerError("the network answers numbers that are not finite")
        return "the model has no golden image; it answers finite numbers"

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """A turn of the setting `concurrency`: no more pictures than that are decoded, and in memory, at once.

        :raises BusyError: other pictures kept all turns for longer than the setting `queue_seconds`.
        """
        if not self.turns.acquire(timeout=self.settings.queue_seconds):
            raise BusyError(f"no turn within {self.settings.queue_seconds:g} seconds")
        try:
            yield
        finally:
            self.turns.release()


def load_detector(settings: Settings, progress: Progress | None = None) -> Detector:
    """The model of `settings`, prepared if need be, on the engine of `settings`.

    :raises ModelError, DarknetError, EngineError: the model can't be had, read or run.
    """
    model = prepare(find_source(settings.model, settings.models_dir), settings.models_dir, progress)
    # OpenCV's own pool would fight the engine's for the cores while it resizes; a request has one thread.
    cv2.setNumThreads(1)
    engine = load_engine(settings.engine, model.path, settings.threads)
    return Detector(model, engine, threading.BoundedSemaphore(settings.concurrency), settings)


def to_objects(detections: list[Detection], labels: list[str]) -> list[dict]:
    """`detections` as `/predict` answers them."""
    colors = class_colors(len(labels))
    return [
        {
            "boxes": list(detection.box),
            "color": colors[detection.class_id],
            "label": labels[detection.class_id],
            "confidence": round(detection.confidence, 6),
        }
        for detection in detections
    ]


def check_answer(expected: list[dict], found: list[dict]) -> str:
    """Says that `found` is the golden answer `expected`, or raises `WrongAnswerError` with the differences."""
    lines = differences(expected, found)
    if lines:
        raise WrongAnswerError("the golden image's answer is wrong:\n  " + "\n  ".join(lines))
    return f"the golden image's {len(expected)} boxes were found"


def drawn_picture() -> np.ndarray:
    """What a model without a golden image is tried with, the same every time: uint8 (480, 640, 3)."""
    picture = np.random.RandomState(0).randint(0, 255, (48, 64, 3), np.uint8)
    return cv2.resize(picture, (640, 480), interpolation=cv2.INTER_CUBIC)
