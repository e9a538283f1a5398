"""The examples, run as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from barevision.models.catalogue import find_source
from barevision.objects import Detection

EXAMPLES = Path(__file__).parents[2] / "examples"
GOLDEN = find_source("roadsigns").golden


def coloured_sides(image: np.ndarray, detection: Detection) -> int:
    """How many sides of the box have the detection's colour at their middle, as near as JPEG keeps it."""
    x, y, width, height = detection.box
    middles = [(x, y + height // 2), (x + width, y + height // 2), (x + width // 2, y), (x + width // 2, y + height)]
    return sum(np.abs(image[row, column].astype(int) - detection.color).max() < 25 for column, row in middles)


@pytest.mark.parametrize(("script", "path"), [("request.py", "/predict"), ("client.py", "")])
def test_an_example_prints_and_draws_what_is_on_the_picture(url: str, tmp_path: Path, script: str, path: str) -> None:
    source, target = tmp_path / "signs.jpg", tmp_path / "annotated.jpg"
    source.write_bytes(GOLDEN.picture)
    command = [sys.executable, EXAMPLES / script, url + path, source, target]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    labels = [line.partition(":")[0] for line in run.stdout.splitlines()]
    assert sorted(labels) == sorted(detection.label for detection in GOLDEN.expected)
    drawn, original = cv2.imread(str(target)), cv2.imread(str(source))
    assert drawn.shape == original.shape
    for detection in GOLDEN.expected:
        assert coloured_sides(drawn, detection) >= 3, detection
        assert coloured_sides(original, detection) == 0, detection
