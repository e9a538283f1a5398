"""How far the answers of one way of running a network are from those of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from barevision.detection.selection import Selection
from barevision.objects import MARGIN, Detection, is_found

# Scores are compared from the best down. Those below are of rows where a network saw nothing.
_COMPARED_SCORES = 300


@dataclass(frozen=True)
class PictureAnswer:
    """What a network answers for a picture.

    :ivar detections: those down to `MARGIN` below the tutorial's confidence.
    :ivar scores: the best scores of its rows, float32 (`_COMPARED_SCORES`), most confident first; 0 where there are
        fewer rows.
    """

    detections: list[Detection]
    scores: np.ndarray


def best_scores(rows: np.ndarray) -> np.ndarray:
    """The best scores in a network's `rows`, float32 (N, 4 + classes), as `PictureAnswer` has them.

    They are sorted, because networks that choose themselves answer their boxes in an order that a last bit changes.
    """
    scores = np.zeros(_COMPARED_SCORES, np.float32)
    best = np.sort(rows[:, 4:].max(axis=1, initial=0))[::-1][:_COMPARED_SCORES]
    scores[: len(best)] = best
    return scores


@dataclass(frozen=True)
class Agreement:
    """How far answers are from those that were expected.

    :ivar boxes: how many boxes were compared: those that were expected, and those that nobody expected.
    :ivar matched: how many of them both have: the same label, and at least half of their union in common.
    :ivar score_difference: the largest difference of two scores, also of those far below the threshold; 0 to 1.
    """

    boxes: int
    matched: int
    score_difference: float

    def is_within(self, least: float) -> bool:
        """Whether at least that share of boxes is matched, 0 to 1.

        Pictures without boxes say nothing about boxes. Then no score may differ by more than the margin.
        """
        if self.boxes == 0:
            return self.score_difference <= MARGIN
        return self.matched >= least * self.boxes

    def __str__(self) -> str:
        if self.boxes == 0:
            return f"no boxes; scores differ by {self.score_difference:.3f} at most"
        return f"{self.matched} of {self.boxes} boxes as f32's; scores differ by {self.score_difference:.3f} at most"


def compare(expected: Sequence[PictureAnswer], answers: Sequence[PictureAnswer]) -> Agreement:
    """How far `answers` are from `expected`, those for the same pictures."""
    boxes, matched = _count([one.detections for one in expected], [other.detections for other in answers])
    differences = [float(np.abs(one.scores - other.scores).max()) for one, other in zip(expected, answers, strict=True)]
    return Agreement(boxes, matched, max(differences, default=0.0))


def matched_share(expected: Sequence[list[Detection]], answers: Sequence[list[Detection]]) -> float:
    """The share of boxes that both have, of the detections on the same pictures, 0 to 1; 1 if neither has any."""
    boxes, matched = _count(expected, answers)
    return matched / boxes if boxes else 1.0


def _count(expected: Sequence[list[Detection]], answers: Sequence[list[Detection]]) -> tuple[int, int]:
    """How many boxes were compared, and how many of them matched.

    A box of one counts if its confidence is above the tutorial's, and is looked for in all of the other, which go down
    to a margin below that. A box of `answers` that nobody expected counts only above a margin over it.
    """
    boxes = matched = 0
    for one, other in zip(expected, answers, strict=True):
        sure = [detection for detection in one if detection.confidence > Selection.confidence]
        surprising = [detection for detection in other if detection.confidence > Selection.confidence + MARGIN]
        matched += sum(is_found(detection, other) for detection in sure)
        boxes += len(sure) + sum(not is_found(detection, one) for detection in surprising)
    return boxes, matched
