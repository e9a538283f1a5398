"""What Ansible's filter makes of a model's name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError

from plugins.filter.model_reference import model_reference
from tests.roles.rendering import ROOT

HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "parts"),
    {
        "roadsigns": ("roadsigns", "", "", False),
        "yolov3@640x384": ("yolov3", "640x384", "", False),
        f"https://example.org/best.onnx@64#sha256={HASH}": ("https://example.org/best.onnx", "64x64", HASH, False),
        "/srv/not/here@64": ("/srv/not/here", "64x64", "", True),
        "~/not-here": ("~/not-here", "", "", True),
    }.items(),
)
def test_names_and_paths_of_another_machine(text: str, parts: tuple) -> None:
    expected = dict(zip(("what", "size", "sha256", "is_path"), parts, strict=True))

    assert model_reference(text) == {**expected, "local_path": ""}


@pytest.mark.parametrize("text", ["~/mine", "~/mine/", "~/mine@64", "./mine", "{home}/mine"])
def test_a_path_that_is_here_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    assert model_reference(text.format(home=tmp_path))["local_path"] == str(tmp_path / "mine")
    # As for the command line, what could be a name of the catalogue is one.
    assert model_reference("mine")["local_path"] == ""


def test_a_folder_with_an_at_sign_in_its_name_is_meant_as_it_is(tmp_path: Path) -> None:
    for name in ("mine", "mine@64"):
        (tmp_path / name).mkdir()

    assert model_reference(f"{tmp_path}/mine@64")["local_path"] == f"{tmp_path}/mine@64"
    assert model_reference(f"{tmp_path}/mine@64")["size"] == ""
    assert model_reference(f"{tmp_path}/mine@32")["local_path"] == f"{tmp_path}/mine"


def test_what_can_not_be_a_size_is_an_error() -> None:
    with pytest.raises(AnsibleFilterError, match="'big' in 'yolov3@big' is not a size"):
        model_reference("yolov3@big")


def test_it_needs_nothing_but_ansible() -> None:
    """Whoever deploys has not installed what predicts."""
    program = "import sys; sys.path.insert(0, 'app'); import barevision.models.reference"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.stderr == ""
