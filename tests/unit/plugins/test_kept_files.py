"""The module kept_files, as Ansible runs it."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from plugins.modules import kept_files

Run = Callable[..., dict]


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    path = tmp_path / "barevision.service"
    path.write_text("[Service]\nUser=one\n", "utf-8")
    path.chmod(0o640)
    return path


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """The module with notes in `.machine`."""

    def run_module(**params: object) -> dict:
        given = {"path": str(tmp_path / ".machine"), "_ansible_diff": True, **params}
        with patch_module_args(given), pytest.raises(SystemExit):
            kept_files.main()
        return json.loads(capsys.readouterr().out)

    return run_module


@pytest.fixture
def keep(run: Run, unit: Path) -> Run:
    """The module, keeping the unit."""
    return lambda **params: run(files=[str(unit)], **params)


def test_what_was_kept_comes_back_with_its_mode(run: Run, unit: Path, tmp_path: Path) -> None:
    new, given = tmp_path / "site", {"files": [str(unit), str(tmp_path / "site")], "facts": {"port": 80}}
    assert run(**given)["changed"]
    assert stat.S_IMODE((tmp_path / ".machine").stat().st_mode) == 0o600
    assert not run(**given)["changed"]

    unit.write_text("[Service]\nUser=two\n", "utf-8")
    unit.chmod(0o600)
    new.write_text("server {}", "utf-8")
    result = run(state="restored")
    assert result["changed"]
    assert result["facts"] == {"port": 80}
    assert "-User=two" in _difference(result)
    assert unit.read_text("utf-8") == "[Service]\nUser=one\n"
    assert stat.S_IMODE(unit.stat().st_mode) == 0o640
    assert not new.exists()
    assert not run(state="restored")["changed"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".machine", "barevision.service"]


def _difference(result: dict) -> str:
    before, after = (set(result["diff"][side].splitlines()) for side in ("before", "after"))
    return "".join(f"-{line}" for line in before - after) + "".join(f"+{line}" for line in after - before)


def test_other_facts_are_a_change(run: Run, keep: Run) -> None:
    keep(facts={"port": 80})
    assert keep(facts={"port": 81})["changed"]
    assert run(state="restored")["facts"] == {"port": 81}


def test_a_file_that_is_spared_stays_as_it_is(run: Run, keep: Run, unit: Path) -> None:
    keep()
    unit.write_text("somebody's own", "utf-8")
    assert not run(state="restored", spared=[str(unit)])["changed"]
    assert unit.read_text("utf-8") == "somebody's own"


def test_a_dry_run_changes_nothing(run: Run, keep: Run, unit: Path, tmp_path: Path) -> None:
    assert keep(_ansible_check_mode=True)["changed"]
    assert not (tmp_path / ".machine").exists()
    keep()
    unit.write_text("other", "utf-8")
    assert run(state="restored", _ansible_check_mode=True)["changed"]
    assert unit.read_text("utf-8") == "other"


@pytest.mark.parametrize("content", [None, "", "[]", '{"files": {}', json.dumps({"files": {}, "facts": {}})])
def test_notes_that_are_not_whole_bring_nothing_back(run: Run, unit: Path, tmp_path: Path, content: str | None) -> None:
    notes = tmp_path / ".machine"
    if content is not None:
        notes.write_text(content, "utf-8")
    result = run(state="restored")
    assert result["failed"]
    assert f"{notes} has no notes" in result["msg"]
    assert unit.read_text("utf-8") == "[Service]\nUser=one\n"


def test_what_an_earlier_try_left_is_in_nobodys_way(run: Run, keep: Run, unit: Path) -> None:
    keep()
    unit.with_name(".barevision.service.partial").write_text("half", "utf-8")
    unit.write_text("other", "utf-8")
    run(state="restored")
    assert unit.read_text("utf-8") == "[Service]\nUser=one\n"


def test_the_module_documents_what_it_takes() -> None:
    documented = yaml.safe_load(kept_files.DOCUMENTATION)["options"]
    assert all(option.pop("description") for option in documented.values())
    assert documented == kept_files._ARGUMENTS
    assert yaml.safe_load(kept_files.EXAMPLES)
    assert yaml.safe_load(kept_files.RETURN)
