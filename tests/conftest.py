"""What all tests share: the real models and photos, where they are, and settings that no shell variable changes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from barevision.api import create_app
from barevision.detector import Detector, load_detector
from barevision.settings import load_settings
from tests.support.assets import ASSETS, model_folder
from tests.support.lab import noted_labs
from tests.support.serving import served

ROOT = Path(__file__).parent.parent
#: Settings that leave one way of running a network, which nobody has to measure, and the tutorial's very numbers.
FIXED_PLAN = {"BAREVISION_ENGINE": "onnxruntime", "BAREVISION_PRECISION": "f32", "BAREVISION_THREADS": "1"}
_RINGS = ("unit", "api", "cases", "browser", "exports", "roles", "gce", "e2e")


def pytest_configure(config: pytest.Config) -> None:
    """Once for all processes that run the tests: no lab outlives them."""
    # A shell's background job ignores Ctrl-C, and what it starts would do so too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        labs = ExitStack()
        labs.enter_context(noted_labs())
        config.add_cleanup(labs.close)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The quick rings first, so that a broken function is not found out after ten minutes of machines.

    Several processes share the files: they begin with the longest, so that none of them ends long after the others.
    """

    def ring(item: pytest.Item) -> int:
        return _RINGS.index(item.path.relative_to(ROOT / "tests").parts[0])

    items.sort(key=ring, reverse=hasattr(config, "workerinput"))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in list(os.environ):
        if name.startswith("BAREVISION_") and not name.startswith("BAREVISION_TEST_"):
            monkeypatch.delenv(name)
    for name, value in FIXED_PLAN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder with real models, photos and golden answers, which is not part of the repository."""
    if not ASSETS.is_dir():
        pytest.skip(f"no test assets in {ASSETS}; BAREVISION_TEST_ASSETS can name another folder")
    return ASSETS


@pytest.fixture(scope="session")
def coco_model(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as a user would have it: YOLO-Fastest 1.1 XL with its .cfg, .weights and .names."""
    return model_folder(assets, "yolo-fastest-1.1-xl", tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def roadsigns(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    """The embedded model, loaded."""
    return load_detector(load_settings(models_dir=tmp_path_factory.mktemp("prepared")))


@pytest.fixture(scope="session")
def url(roadsigns: Detector) -> Iterator[str]:
    """The address of a service of the embedded model."""
    with served(create_app(roadsigns)) as address:
        yield address


@pytest.fixture
def photo() -> np.ndarray:
    """An image of nothing in particular: uint8 (120, 160, 3) BGR."""
    return np.random.default_rng(1).integers(0, 255, (120, 160, 3), np.uint8)
