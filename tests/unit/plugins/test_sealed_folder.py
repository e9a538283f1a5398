"""A folder counts as complete only once it is on the disk."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils import seals
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from plugins.modules import sealed_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file and a link, and with a folder below it."""
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "module.py").write_text("1 + 1")
    (folder / "link").symlink_to("inner")
    (folder / ".proven").write_text("{}")
    return folder


class Module:
    """The module, as a task with these arguments runs it."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, path: Path, **arguments: Any) -> dict[str, Any]:
        with patch_module_args({"path": str(path), **arguments}), pytest.raises(SystemExit):
            sealed_folder.main()
        return json.loads(self._capsys.readouterr().out)


@pytest.fixture
def seal(capsys: pytest.CaptureFixture[str]) -> Module:
    return Module(capsys)


def test_the_documentation_describes_the_arguments() -> None:
    options = yaml.safe_load(sealed_folder.DOCUMENTATION)["options"]

    assert {name: {**option, "description": ""} for name, option in options.items()} == {
        name: {**argument, "description": ""} for name, argument in sealed_folder._ARGUMENTS.items()
    }


def test_its_files_are_listed_and_found_again(folder: Path, seal: Module) -> None:
    result = seal(folder, excluded=[".proven"], _ansible_diff=True)

    assert (result["changed"], result["files"]) == (True, 2)
    assert "inner/module.py" in result["diff"]["after"]
    assert (folder / seals.SEAL).stat().st_mode & 0o777 == 0o644
    (folder / ".proven").write_text("changed")
    assert seals.find_damage(folder, contents=True) == []
    assert not seal(folder, excluded=[".proven"])["changed"]
    (folder / "inner" / "module.pyc").touch()
    assert seal(folder, excluded=[".proven"])["files"] == 3


def test_check_mode_writes_nothing(folder: Path, seal: Module) -> None:
    assert seal(folder, _ansible_check_mode=True)["changed"]
    assert not seals.is_sealed(folder)


def test_the_folder_is_on_the_disk_before_its_marker(
    folder: Path, seal: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def follow_sync(_: AnsibleModule, command: list[str], **__: Any) -> tuple[int, str, str]:
        assert not (folder / seals.SEAL).exists()
        steps.append(" ".join(command))
        return 0, "", ""

    def follow_fsync(descriptor: int) -> None:
        path = Path("/proc/self/fd", str(descriptor)).readlink()
        steps.append(f"fsync {path}")
        fsync(descriptor)

    def follow_replace(path: Path, target: Path) -> Path:
        assert not seals.is_sealed(folder)
        steps.append(f"rename to {target}")
        return replace(path, target)

    monkeypatch.setattr(AnsibleModule, "run_command", follow_sync)
    monkeypatch.setattr(os, "fsync", follow_fsync)
    monkeypatch.setattr(Path, "replace", follow_replace)
    seal(folder)

    marker = folder / seals.SEAL
    assert steps == [
        f"sync --file-system {folder}",
        f"fsync {marker}.partial",
        f"rename to {marker}",
        f"fsync {folder}",
    ]


def test_what_cannot_be_written_out_gets_no_marker(
    folder: Path, seal: Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sync").write_text("#!/bin/sh\necho 'Input/output error' >&2; exit 1\n")
    (tmp_path / "sync").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    result = seal(folder)

    assert result["failed"]
    assert "Input/output error" in result["msg"]
    assert not seals.is_sealed(folder)


def test_what_is_no_folder_is_named(tmp_path: Path, seal: Module) -> None:
    result = seal(tmp_path / "nothing")

    assert result["msg"] == f"{tmp_path}/nothing is not a folder"
