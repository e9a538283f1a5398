"""Which answers count as those of f32."""

from __future__ import annotations

import numpy as np
import pytest

from barevision.choosing.agreement import Agreement, PictureAnswer, best_scores, compare
from barevision.objects import Detection

BOX = (10, 20, 100, 50)


def answer(*detections: Detection, scores: tuple[float, ...] = ()) -> list[PictureAnswer]:
    """The answer for one picture."""
    rows = np.zeros((max(1, len(scores)), 6), np.float32)
    rows[: len(scores), 5] = scores
    return [PictureAnswer(list(detections), best_scores(rows))]


def cat(confidence: float = 0.9, box: tuple[int, int, int, int] = BOX, label: str = "cat") -> Detection:
    return Detection(box, (1, 2, 3), label, confidence)


@pytest.mark.parametrize(
    ("expected", "found", "boxes", "matched"),
    [
        ([cat()], [cat(0.6, (12, 20, 100, 52))], 1, 1),
        ([cat()], [cat(label="dog")], 2, 0),
        # Half of the union: 100 of 200 pixels wide.
        ([cat()], [cat(0.9, (60, 20, 100, 50))], 2, 0),
        ([cat()], [], 1, 0),
        ([cat(0.52)], [cat(0.46)], 1, 1),
        ([], [cat(0.54)], 0, 0),
        ([], [cat(0.56)], 1, 0),
        ([cat(0.47)], [cat(0.6)], 0, 0),
        ([cat(), cat(0.8, (300, 20, 100, 50))], [cat()], 2, 1),
    ],
)
def test_boxes_match_by_label_and_place_and_may_come_and_go_at_the_threshold(
    expected: list[Detection], found: list[Detection], boxes: int, matched: int
) -> None:
    agreement = compare(answer(*expected), answer(*found))
    assert (agreement.boxes, agreement.matched) == (boxes, matched)


def test_the_largest_difference_of_scores_is_found_in_whatever_order_they_come() -> None:
    agreement = compare(answer(scores=(0.1, 0.3, 0.2)), answer(scores=(0.3, 0.24, 0.1)))
    assert agreement.score_difference == pytest.approx(0.04)
    # Another number of rows, as of a network that chooses itself.
    assert compare(answer(scores=(0.3, 0.2)), answer(scores=(0.3,))).score_difference == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("agreement", "least", "is_within"),
    [
        (Agreement(100, 100, 0.3), 1, True),
        (Agreement(100, 99, 0), 1, False),
        (Agreement(100, 97, 0), 0.97, True),
        (Agreement(0, 0, 0.05), 1, True),
        (Agreement(0, 0, 0.06), 0.5, False),
    ],
)
def test_boxes_decide_and_scores_where_there_are_none(agreement: Agreement, least: float, is_within: bool) -> None:
    assert agreement.is_within(least) == is_within
