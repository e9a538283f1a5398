"""Networks of other packages' exporters, against these packages' own predictors."""

from __future__ import annotations

import os

import pytest

# Before its import: it would install packages, and ask the network whether there is one.
os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ["YOLO_OFFLINE"] = "true"
_WHY = "needs PyTorch and ultralytics, which are not in requirements.txt: run make test-exports"
pytest.importorskip("torch", reason=_WHY)
pytest.importorskip("ultralytics", reason=_WHY)
