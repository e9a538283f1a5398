"""What Ansible hears of a model before a machine is touched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from plugins.filter.model_requirements import model_requirements
from tests.support.darknet_files import write_model


def test_a_known_model() -> None:
    needs = model_requirements("yolov3-tiny@608", 10**6)

    assert (needs["error"], needs["name"], needs["verified"]) == ("", "yolov3-tiny", True)
    assert needs["disk_bytes"] > 0
    assert model_requirements("yolov3-tiny", 2 * 10**6)["memory_bytes"] > needs["memory_bytes"]


def test_a_folder_on_this_computer(tmp_path: Path) -> None:
    needs = model_requirements(str(write_model(tmp_path / "mine")), 1)

    assert (needs["error"], needs["name"], needs["verified"]) == ("", "mine", True)


def test_one_that_nobody_vouches_for() -> None:
    needs = model_requirements("https://example.org/best.onnx", 1)

    assert (needs["error"], needs["name"], needs["verified"]) == ("", "best", False)
    assert (needs["disk_bytes"], needs["memory_bytes"]) == (0, 0)


@pytest.mark.parametrize("text", ["yolo9000", "yolov3@big", "https://example.org/best.onnx#sha256=1"])
def test_what_is_wrong_with_a_name_is_said(text: str) -> None:
    needs = model_requirements(text, 1)

    assert needs["error"]
    assert not needs["verified"]


def test_a_python_without_what_the_app_needs_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "barevision.models.catalogue", None)

    assert "pip install -r requirements.txt" in model_requirements("roadsigns", 1)["error"]
