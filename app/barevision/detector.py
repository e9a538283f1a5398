"""A model on an engine: pictures in, answers out. What the service and the command line share."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from barevision.detection import (
    Detection,
    ImageError,
    class_colors,
    decode_image,
    select_detections,
    to_blob,
)
from barevision.engines import Engine, load_engine
from barevision.models import Golden, PreparedModel, differences, find_source, prepare
from barevision.models.download import Progress
from barevision.settings import Settings


class BusyError(RuntimeError):
    """Too many others want a prediction."""


class WrongAnswerError(RuntimeError):
    """The model's answer for its golden image is not the expected one, or is no answer for any image."""


@dataclass(frozen=True)
class Detector:
    """A loaded model. `predict` may be called from several threads at once; `turn` bounds how many do."""

    model: PreparedModel
    engine: Engine
    turns: threading.BoundedSemaphore
    settings: Settings

    def predict(self, image: np.ndarray, confidence: float | None = None, nms: float | None = None) -> list[dict]:
        """What `/predict` answers for `image`, uint8 (height, width, 3) BGR: most confident first.

        :param confidence: answer detections above it, 0 to 1; the setting if None.
        :param nms: largest overlap of two boxes, 0 to 1; the setting if None.
        :raises WrongAnswerError: the network answers NaN, which says nothing about the picture.
        """
        rows = self.engine.infer(to_blob(image, self.engine.input_size))
        if np.isnan(rows).any():
            raise WrongAnswerError("the network answers NaN; its weights are damaged or don't fit this engine")
        confidence = self.settings.confidence if confidence is None else confidence
        nms = self.settings.nms if nms is None else nms
        detections = select_detections(rows, image.shape[:2], confidence, nms)
        return to_answer(detections, self.model.labels)

    def check(self) -> str:
        """Predicts the golden image and says in a sentence what was checked.

        A model without a golden image is given a drawn one, and only has to answer finite numbers.

        :raises WrongAnswerError: with what is missing, unexpected or not finite, a line each.
        """
        golden = self.model.golden
        if golden is None:
            return self._check_form()
        try:
            image = decode_image(golden.image, self.settings.max_pixels)
        except ImageError as error:
            raise WrongAnswerError(f"the golden image can't be predicted: {error}") from error
        # The golden answer was given at the default thresholds, whatever this service is set to.
        return check_answer(golden, self.predict(image, confidence=0.5, nms=0.3))

    def _check_form(self) -> str:
        rows = self.engine.infer(to_blob(drawn_picture(), self.engine.input_size))
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
    model = prepare(find_source(settings.model), Path(settings.models_dir), progress)
    # OpenCV's own pool would fight the engine's for the cores while it resizes; a request has one thread.
    cv2.setNumThreads(1)
    engine = load_engine(settings.engine, model.path, settings.threads)
    return Detector(model, engine, threading.BoundedSemaphore(settings.concurrency), settings)


def to_answer(detections: list[Detection], labels: list[str]) -> list[dict]:
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


def check_answer(golden: Golden, found: list[dict]) -> str:
    """Says that `found` is the golden answer, or raises `WrongAnswerError` with the differences."""
    lines = differences(golden.expected, found)
    if lines:
        raise WrongAnswerError("the golden image's answer is wrong:\n  " + "\n  ".join(lines))
    return f"the golden image's {len(golden.expected)} boxes were found"


def drawn_picture() -> np.ndarray:
    """What a model without a golden image is tried with, the same every time: uint8 (480, 640, 3)."""
    picture = np.random.RandomState(0).randint(0, 255, (48, 64, 3), np.uint8)
    return cv2.resize(picture, (640, 480), interpolation=cv2.INTER_CUBIC)
