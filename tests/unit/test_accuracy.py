"""Labels as people write them, and mean average precision."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from barevision.accuracy import Truth, mean_average_precision, read_truths
from barevision.errors import LabelsError
from barevision.objects import Detection

NAMES = ["cat", "dog"]
PICTURE = Path("photos/a.jpg")
SIZES = {PICTURE: (100, 200), Path("photos/b.jpg"): (50, 50)}


def test_yolos_lines_are_shares_of_the_picture_from_its_centre(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 0.5 0.5 0.2 0.4\n\n0 0.25 0.5 0.5 1.0\n")
    truths = read_truths(tmp_path, SIZES, NAMES)
    assert list(truths) == [PICTURE]
    assert [truth.label for truth in truths[PICTURE]] == ["dog", "cat"]
    assert truths[PICTURE][0].box == pytest.approx((80, 30, 40, 40))
    assert truths[PICTURE][1].box == pytest.approx((0, 0, 100, 100))


@pytest.mark.parametrize(
    "line", ["2 0.5 0.5 0.2 0.4", "1.5 0.5 0.5 0.2 0.4", "0 50 50 20 40", "0 0.5 0.5 0.2", "cat 0 0 0 0"]
)
def test_a_line_that_is_none_of_yolos_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.txt").write_text(f"0 0.5 0.5 0.2 0.4\n{line}\n")
    with pytest.raises(LabelsError, match=r"a\.txt, line 2: .* expected a class number from 0 to 1"):
        read_truths(tmp_path, SIZES, NAMES)


def coco(tmp_path: Path, categories: dict[int, str], **changes: object) -> Path:
    content = {
        "images": [{"id": 7, "file_name": "2017/a.jpg"}, {"id": 8, "file_name": "other.jpg"}],
        "categories": [{"id": number, "name": name} for number, name in categories.items()],
        "annotations": [
            {"image_id": 7, "category_id": 18, "bbox": [1, 2, 30, 40], "iscrowd": 1},
            {"image_id": 8, "category_id": 17, "bbox": [0, 0, 5, 5]},
        ],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content | changes))
    return path


@pytest.mark.parametrize("names", [{17: "cat", 18: "dog"}, {17: "Katze", 18: "Hund"}])
def test_cocos_categories_count_by_name_or_by_place(tmp_path: Path, names: dict[int, str]) -> None:
    truths = read_truths(coco(tmp_path, names), SIZES, NAMES)
    assert truths == {PICTURE: [Truth("dog", (1, 2, 30, 40), is_crowd=True)]}


def test_labels_of_another_model_or_other_pictures_are_named(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="has 3 categories, the model 2; it has no bird"):
        read_truths(coco(tmp_path, {17: "cat", 18: "dog", 19: "bird"}), SIZES, NAMES)
    with pytest.raises(LabelsError, match=r"no labels for any of 2 pictures: expected for instance a\.jpg among"):
        read_truths(coco(tmp_path, {17: "cat", 18: "dog"}, images=[]), SIZES, NAMES)
    path = tmp_path / "other.json"
    path.write_text('{"categories": [], "images": []}')
    with pytest.raises(LabelsError, match="is no COCO file of boxes: KeyError 'annotations'"):
        read_truths(path, SIZES, [])
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabelsError, match=r"expected for instance a\.txt"):
        read_truths(tmp_path / "empty", SIZES, NAMES)


def seen(label: str, box: tuple[int, int, int, int], confidence: float = 0.9) -> Detection:
    return Detection(box, (0, 0, 0), label, confidence)


@pytest.mark.skipif(not importlib.util.find_spec("pycocotools"), reason="the extra 'quantize' is not installed")
@pytest.mark.filterwarnings("ignore")
def test_precision_is_the_share_of_classes_and_overlaps_that_are_right() -> None:
    truths = [[Truth("cat", (0, 0, 100, 100)), Truth("dog", (200, 0, 100, 100))]]
    right = [seen("cat", (0, 0, 100, 100)), seen("dog", (200, 0, 100, 100))]
    assert mean_average_precision(truths, [right], NAMES) == pytest.approx((100, 100))
    # 72 % of the union: right at 50, 55, 60, 65 and 70 % of ten overlaps.
    assert mean_average_precision(truths, [[right[0], seen("dog", (200, 0, 100, 72))]], NAMES) == pytest.approx(
        (100, 75)
    )
    assert mean_average_precision(truths, [right[:1]], NAMES) == pytest.approx((50, 50))
    assert mean_average_precision(truths, [[]], NAMES) == (0, 0)
