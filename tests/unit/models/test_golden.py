"""Golden images and their answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from barevision.errors import ModelError, WrongAnswerError
from barevision.models.catalogue import find_source
from barevision.models.golden import Golden, asked_confidence
from barevision.objects import Detection
from tests.support.darknet_files import write_model


@pytest.mark.parametrize("name", ["golden.jpg", "golden.json"])
def test_half_of_a_golden_answer_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "mine")
    (folder / name).write_text("[]")
    with pytest.raises(ModelError, match=f"has {name} alone"):
        find_source(str(folder))


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "null",
        "[1]",
        '{"a": 1}',
        '[{"label": "cat", "confidence": 0.5, "boxes": [1], "color": [1, 2, 3]}]',
        '[{"label": "cat", "confidence": NaN, "boxes": [1, 2, 3, 4], "color": [1, 2, 3]}]',
    ],
)
def test_a_golden_answer_that_is_no_list_of_detections_is_refused(tmp_path: Path, text: str) -> None:
    folder = write_model(tmp_path / "mine")
    (folder / "golden.jpg").write_bytes(b"")
    (folder / "golden.json").write_text(text)
    with pytest.raises(ModelError, match=r"golden\.json is not the list that"):
        find_source(str(folder))


def cat(confidence: float, x: int = 10) -> Detection:
    return Detection((x, 20, 100, 50), (1, 2, 3), "cat", confidence)


@pytest.mark.parametrize(
    ("answer", "f32", "bf16"),
    [
        ([cat(0.8)], True, True),
        ([cat(0.81, 12)], True, True),
        ([cat(0.7)], False, True),
        ([cat(0.46, 14)], False, True),
        ([cat(0.8, 60)], False, False),
        ([], False, False),
        ([cat(0.8), cat(0.54, 300)], False, True),
        ([cat(0.8), cat(0.56, 300)], False, False),
    ],
)
def test_fewer_bits_have_to_find_the_boxes_and_f32_the_very_numbers(
    answer: list[Detection], f32: bool, bf16: bool
) -> None:
    golden = Golden(b"", [cat(0.8)])
    for precision, is_right in (("f32", f32), ("bf16", bf16), ("int8", bf16)):
        if is_right:
            assert "1 boxes were found" in golden.check(answer, precision)
        else:
            with pytest.raises(WrongAnswerError, match="cat"):
                golden.check(answer, precision)


def test_fewer_bits_are_asked_for_boxes_below_the_threshold_too() -> None:
    assert asked_confidence("f32") == 0.5
    assert asked_confidence("bf16") == pytest.approx(0.45)
