"""A model on an engine: pictures in, detections out. What the service and the command line share.

::

    detector = load_detector(load_settings(model="roadsigns"))
    answer = detector.answer(Path("photo.jpg").read_bytes())
    for detection in answer.detections:
        print(detection.label, detection.confidence, detection.box)
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import cv2
import numpy as np

from barevision.choosing.measure import quick_choice, wanted_plans
from barevision.choosing.speeds import known_measurement, usual_plan
from barevision.detection.network_input import to_blob, to_image_rows
from barevision.detection.network_output import to_rows
from barevision.detection.selection import Selection, clip, select_detections
from barevision.engines import Engine, load_engine
from barevision.engines.processor import this_processor
from barevision.errors import (
    EngineError,
    PictureError,
    PictureTooLargeError,
    SideTooLongError,
    UnknownLabelError,
    WrongAnswerError,
    shortened,
)
from barevision.models.catalogue import find_source
from barevision.models.golden import asked_confidence
from barevision.models.prepare import PreparedModel, prepare
from barevision.models.source import Progress
from barevision.objects import Detection
from barevision.pictures.decode import decode_reduced
from barevision.processes import Process
from barevision.settings import Settings

_log = logging.getLogger(__name__)
# A reduced picture keeps at least this many times the pixels of the network's input on each side.
_REDUCED_SIDES = 2


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

    :ivar detections: most confident first.
    :ivar image: the decoded, upright picture, uint8 (height, width, 3) BGR; smaller than the picture where a large JPEG
        was decoded at a reduced size.
    :ivar size: (height, width) of the upright picture in pixels, which boxes are in.
    :ivar seconds: how long the steps decode, infer and select took.
    """

    detections: list[Detection]
    image: np.ndarray
    size: tuple[int, int]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Detector:
    """A loaded model. Several threads at once may ask it.

    :ivar settings: what the model was loaded with, and what counts where a request says nothing else.
    """

    model: PreparedModel
    engine: Engine
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
            raise UnknownLabelError(f"the model has no class {shortened(', '.join(unknown))}; it has {known}")
        return Selection(
            self.settings.confidence if confidence is None else confidence,
            self.settings.nms if nms is None else nms,
            per_class_nms,
            None if classes is None else frozenset(classes),
            limit,
        )

    def answer(
        self,
        picture: bytes,
        selection: Selection | None = None,
        max_side: int | None = None,
        full_size: bool = False,
        hold_pixels: Callable[[int], None] = lambda pixels: None,
    ) -> Answer:
        """What is on the encoded `picture`.

        :param max_side: the most pixels that a side may have, if less than the setting of this name.
        :param full_size: whether the answer's image has to be in full size; if not, the setting `reduce_jpegs` decides.
        :param hold_pixels: as in `decode_reduced`.
        :raises SideTooLongError: a side is longer than the parameter `max_side`.
        :raises PictureError: not a picture, a damaged one or one that is too large by the settings.
        :raises EngineError: as `predict`.
        :raises WrongAnswerError: as `predict`.
        """
        watch = Stopwatch()
        least = None
        if self.settings.reduce_jpegs and not full_size:
            height, width = self.engine.input_size
            least = (_REDUCED_SIDES * height, _REDUCED_SIDES * width)
        allowed = self.settings.max_side
        try:
            max_pixels, side = self.settings.max_pixels, min(allowed, max_side or allowed)
            image, size = decode_reduced(picture, max_pixels, side, least, hold_pixels)
        except SideTooLongError as error:
            if max_side and max_side < allowed:
                raise
            raise PictureTooLargeError(str(error)) from None
        watch.lap("decode")
        return Answer(self.predict(image, selection, watch, size), image, size, watch.seconds)

    def predict(
        self,
        image: np.ndarray,
        selection: Selection | None = None,
        watch: Stopwatch | None = None,
        size: tuple[int, int] | None = None,
    ) -> list[Detection]:
        """What is on `image`, uint8 (height, width, 3) BGR: most confident first.

        :param selection: what the settings say if None.
        :param watch: gets the laps "infer" and "select".
        :param size: (height, width) that boxes are answered for; the image's own if None.
        :raises EngineError: the engine can't run the network.
        :raises WrongAnswerError: the network answers NaN, which says nothing about the image.
        """
        watch = watch or Stopwatch()
        rows = self.infer(image)
        watch.lap("infer")
        detections = self.select(rows, size or image.shape[:2], selection or self.selection())
        watch.lap("select")
        return detections

    def select(self, rows: np.ndarray, size: tuple[int, int], selection: Selection) -> list[Detection]:
        """What `rows`, the answer of `infer`, say is on an image of `size` (height, width): most confident first.

        :raises WrongAnswerError: the rows have NaN, which says nothing about the image.
        """
        if np.isnan(rows).any():
            raise WrongAnswerError("the network answers NaN; its weights are damaged or don't fit this engine")
        head = self.model.head
        if head.is_chosen:
            # The network chose already; what it left side by side belongs there.
            selection = replace(selection, nms=1.0)
        detections = select_detections(rows, size, self.model.labels, selection)
        if head.fit in ("letterbox", "yolox"):
            # As Ultralytics' predictor does; the tutorial's boxes may stick out.
            detections = [clip(detection, size) for detection in detections]
        return detections

    def infer(self, image: np.ndarray) -> np.ndarray:
        """The network's output for `image`: float32 (rows, 4 + classes), boxes relative to the image, scores.

        :raises EngineError: the engine can't run the network.
        """
        head, size = self.model.head, self.engine.input_size
        output = self.engine.infer(to_blob(image, size, head.fit))
        rows = to_rows(output, head, size, len(self.model.labels))
        return to_image_rows(rows, image.shape[:2], size, head.fit)

    def check(self) -> str:
        """Predicts the golden image and says in a sentence what was checked.

        A model without one predicts a drawn image, and only has to answer finite numbers.

        :raises EngineError: as `predict`.
        :raises WrongAnswerError: with what is missing, unexpected or not finite, a line each.
        """
        answer = self.golden_answer()
        if answer is not None:
            return self.model.golden.check(answer, self.engine.plan.precision)
        if not np.isfinite(self.infer(drawn_image())).all():
            raise WrongAnswerError("the network answers numbers that are not finite")
        return "the model has no golden image; it answers finite numbers"

    def golden_answer(self) -> list[Detection] | None:
        """What the model answers for its golden image; None if it has none.

        :raises EngineError: as `predict`.
        :raises WrongAnswerError: the image can't be predicted, or the settings would refuse it to a client.
        """
        if self.model.golden is None:
            return None
        picture, settings = self.model.golden.picture, self.settings
        try:
            # A deployment's last test sends it, too. What would be refused then is said before the release is switched.
            if len(picture) > settings.max_bytes:
                raise PictureTooLargeError(f"the picture has {len(picture)} bytes, allowed are {settings.max_bytes}")
            image, _ = decode_reduced(picture, settings.max_pixels, settings.max_side)
        except PictureTooLargeError as error:
            raise WrongAnswerError(
                f"the settings refuse the golden image, with which a service is tried: {error}; "
                "raise max_bytes, max_pixels or max_side"
            ) from error
        except PictureError as error:
            raise WrongAnswerError(f"the golden image can't be predicted: {error}") from error
        # The golden answer was given at the default thresholds, whatever this service is set to.
        return self.predict(image, Selection(asked_confidence(self.engine.plan.precision)))


def load_detector(
    settings: Settings, progress: Progress | None = None, measures: bool = False, process: Process | None = None
) -> Detector:
    """The model of `settings`, prepared if need be, on the engine that was chosen for it on this machine.

    :param measures: whether to choose one, which takes up to 20 seconds, if none was chosen for this processor and
        these settings. If not, such a model runs with ONNX Runtime at f32, where the settings say nothing else.
    :param process: which one of a service's this is, to have its share of the plan; None if it is the only one.
    :raises ModelError: the model can't be had or read.
    :raises EngineError: the engine can't load it.
    """
    model = prepare(find_source(settings.model, settings.models_dir), settings.models_dir, progress)
    # OpenCV's own threads would fight the engine's for the cores while it resizes; each request has its own thread.
    cv2.setNumThreads(1)
    known, usual = known_measurement(model.path, settings), usual_plan(settings, model.quantized)
    plan = known.choice.plan if known else None
    if plan is None:
        # Settings that can't be are named before an engine fails with them.
        plans = wanted_plans(model, settings, this_processor())
        plan = quick_choice(model, settings, plans) if measures else None
    plan = plan or usual
    processes = plan.processes if process else 1
    share = replace(plan, streams=math.ceil(plan.streams / processes), processes=processes)
    try:
        engine = load_engine(share, model.path, process)
    except EngineError as error:
        # What was chosen outside of the service's sandbox may not run within.
        if plan == usual:
            raise
        _log.warning("%s was chosen, and does not run: %s. Taking %s", plan, error, usual)
        engine = load_engine(usual, model.path)
    return Detector(model, engine, settings)


def drawn_image() -> np.ndarray:
    """What a model without a golden image is tried with, the same every time: uint8 (480, 640, 3)."""
    noise = np.random.RandomState(0).randint(0, 255, (48, 64, 3), np.uint8)
    return cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC)
