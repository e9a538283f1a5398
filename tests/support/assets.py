"""Where real models, photos and golden answers are, which are not part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

ASSETS = Path(os.environ.get("BAREVISION_TEST_ASSETS") or Path(__file__).parents[3] / "shared" / "assets")
