"""Real models, photos and golden answers, which are not part of the repository."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ASSETS = Path(os.environ.get("BAREVISION_TEST_ASSETS") or Path(__file__).parents[3] / "shared" / "assets")


def model_folder(assets: Path, name: str, parent: Path) -> Path:
    """A copy of the model `name` of the assets, with its names, in `parent`."""
    folder = parent / name
    shutil.copytree(assets / "models" / name, folder, copy_function=shutil.copyfile)
    shutil.copyfile(assets / "models" / "coco.names", folder / "coco.names")
    return folder
