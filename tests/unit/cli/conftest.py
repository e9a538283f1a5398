"""A model and pictures as somebody has them who uses the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from barevision.pictures.decode import encode_image
from tests.support.darknet_files import write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "mine")


@pytest.fixture
def picture(tmp_path: Path, photo: np.ndarray) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(encode_image(photo, ".png"))
    return path


@pytest.fixture
def pictures(tmp_path: Path, photo: np.ndarray) -> Path:
    """A folder of pictures, one of them below it by the same name, and something else."""
    folder = tmp_path / "pictures"
    (folder / "b").mkdir(parents=True)
    for name in ("c.PNG", "a.png", "b/a.png"):
        (folder / name).write_bytes(encode_image(photo, ".png"))
    (folder / "notes.txt").write_text("no picture")
    return folder
