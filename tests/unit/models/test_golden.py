"""Golden images and their answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from barevision.errors import ModelError
from barevision.models.catalogue import find_source
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
