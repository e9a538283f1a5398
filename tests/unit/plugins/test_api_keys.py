"""The module that keeps the file of keys."""

from __future__ import annotations

import grp
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from plugins.modules import api_keys

DIGEST = "a" * 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def run(path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict]:
    """The module with its file in a temporary folder."""

    def run_module(state: str, name: str | None = None, **given: object) -> dict:
        params = {"path": str(path), "group": grp.getgrgid(os.getgid()).gr_name, "state": state, **given}
        with patch_module_args(params | ({"name": name} if name else {})), pytest.raises(SystemExit):
            api_keys.main()
        return json.loads(capsys.readouterr().out)

    return run_module


def test_keys_are_made_listed_and_revoked(run: Callable[..., dict], path: Path) -> None:
    assert run("listed")["keys"] == []
    assert run("created", "camera", sha256=DIGEST)["changed"]
    assert run("created", "page", sha256="b" * 64)["changed"]
    assert [key["name"] for key in run("listed")["keys"]] == ["camera", "page"]
    assert [key["sha256"] for key in json.loads(path.read_text())["keys"]] == [DIGEST, "b" * 64]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert run("revoked", "camera")["changed"]
    assert [key["name"] for key in run("listed")["keys"]] == ["page"]
    assert DIGEST not in path.read_text()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_machine_has_a_key_of_its_own_which_stays(run: Callable[..., dict], path: Path) -> None:
    assert run("present")["changed"]
    own = json.loads(path.read_text())["own"]
    assert len(own) > 40
    assert not run("present")["changed"]
    run("created", "camera", sha256=DIGEST)
    assert json.loads(path.read_text())["own"] == own


def test_a_dry_run_changes_nothing(run: Callable[..., dict], path: Path) -> None:
    assert run("created", "camera", sha256=DIGEST, _ansible_check_mode=True)["changed"]
    assert not path.exists()


def test_what_can_not_be_is_said(run: Callable[..., dict]) -> None:
    run("created", "camera", sha256=DIGEST)
    assert "there is a key camera already" in run("created", "camera", sha256="b" * 64)["msg"]
    assert "there is no key door; there are camera" in run("revoked", "door")["msg"]


@pytest.mark.parametrize("content", ["", "[]", '{"own": "o", "keys": [{"name": "camera"}]}', '{"keys": []}'])
def test_a_file_that_is_none_of_ours_stays(run: Callable[..., dict], path: Path, content: str) -> None:
    path.write_text(content)
    assert "is not the file of keys" in run("created", "camera", sha256=DIGEST)["msg"]
    assert path.read_text() == content


def test_the_module_takes_what_it_documents() -> None:
    documented = yaml.safe_load(api_keys.DOCUMENTATION)["options"]
    assert all(option.pop("description") for option in documented.values())
    assert documented == api_keys._ARGUMENTS
    assert yaml.safe_load(api_keys.EXAMPLES)
    assert yaml.safe_load(api_keys.RETURN)
