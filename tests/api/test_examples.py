"""The examples, run as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from barevision.api import create_app
from barevision.detector import Detector
from barevision.models.catalogue import find_source
from tests.support.serving import served

EXAMPLES = Path(__file__).parents[2] / "examples"
GOLDEN = find_source("roadsigns").golden


@pytest.mark.parametrize(("script", "path"), [("request.py", "/predict"), ("client.py", "")])
def test_an_example_prints_and_draws_what_is_on_the_picture(
    roadsigns: Detector, tmp_path: Path, script: str, path: str
) -> None:
    source, target = tmp_path / "signs.jpg", tmp_path / "annotated.jpg"
    source.write_bytes(GOLDEN.image)
    with served(create_app(roadsigns)) as url:
        command = [sys.executable, EXAMPLES / script, url + path, source, target]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    labels = [line.partition(":")[0] for line in run.stdout.splitlines()]
    assert sorted(labels) == sorted(detection.label for detection in GOLDEN.expected)
    drawn, original = cv2.imread(str(target)), cv2.imread(str(source))
    assert drawn.shape == original.shape
    assert np.abs(drawn.astype(int) - original).max() > 100
