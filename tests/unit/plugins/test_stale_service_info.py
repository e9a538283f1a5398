"""The module stale_service_info, with stand-ins for systemctl and the service."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from plugins.modules import stale_service_info

ACTIVE = "LoadState=loaded\nActiveState=active\nInactiveExitTimestamp={start}\nStateChangeTimestamp={reload}\n"


def shown(moment: datetime) -> str:
    """`moment` as `systemctl show --timestamp=us+utc` prints it."""
    return moment.astimezone(UTC).strftime("%a %Y-%m-%d %H:%M:%S.%f UTC")


def changed_at(path: Path) -> datetime:
    return datetime.fromtimestamp(path.lstat().st_ctime, UTC)


def run(output: str, *paths: Path, since: str = "start", socket: Path | None = None) -> dict[str, Any]:
    """The module's result when systemctl prints those lines of `output` that it is asked for."""

    def run_command(command: list[str], check_rc: bool, environ_update: dict[str, str]) -> tuple[int, str, str]:
        assert command[:3] == ["systemctl", "show", "--timestamp=us+utc"]
        assert command[4:] == ["some.service"]
        properties = command[3].removeprefix("--property=").split(",")
        lines = [line for line in output.splitlines() if line.partition("=")[0] in properties]
        return 0, "\n".join(lines), ""

    params = {"name": "some.service", "paths": [str(path) for path in paths], "since": since}
    params |= {"socket": socket and str(socket), "ready_timeout": 1}
    return stale_service_info.run(SimpleNamespace(params=params, run_command=run_command))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "settings"
    path.touch()
    return path


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/St_Johns"])
def test_a_path_is_newer_by_a_microsecond_whatever_the_zone(
    path: Path, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    moment = changed_at(path)
    before, after = shown(moment - timedelta(microseconds=1)), shown(moment + timedelta(microseconds=1))
    assert run(ACTIVE.format(start=before, reload=after), path) == {
        "exists": True,
        "active": True,
        "newer": [str(path)],
    }
    assert run(ACTIVE.format(start=after, reload=after), path)["newer"] == []


def test_a_reload_counts_for_a_service_that_reads_again(path: Path) -> None:
    moment = changed_at(path)
    output = ACTIVE.format(start=shown(moment - timedelta(hours=1)), reload=shown(moment + timedelta(seconds=1)))
    assert run(output, path, since="start")["newer"] == [str(path)]
    assert run(output, path, since="reload")["newer"] == []


def test_a_link_is_compared_itself_and_a_missing_path_is_left_out(path: Path, tmp_path: Path) -> None:
    old = shown(changed_at(path) - timedelta(days=365))
    link = tmp_path / "current"
    link.symlink_to(tmp_path / "nothing")
    assert run(ACTIVE.format(start=old, reload=old), tmp_path / "missing", link)["newer"] == [str(link)]
    os.utime(link, (0, 0), follow_symlinks=False)
    assert run(ACTIVE.format(start=old, reload=old), link)["newer"] == [str(link)]


@pytest.mark.parametrize(
    ("load", "state", "exists"),
    [
        ("not-found", "inactive", False),
        ("loaded", "inactive", True),
        ("loaded", "failed", True),
        ("loaded", "activating", True),
    ],
)
def test_nothing_is_newer_than_a_service_that_is_not_active(path: Path, load: str, state: str, exists: bool) -> None:
    output = f"LoadState={load}\nActiveState={state}\nInactiveExitTimestamp=\n"
    assert run(output, path) == {"exists": exists, "active": False, "newer": []}


@pytest.mark.parametrize(
    ("line", "ready"), [(b"HTTP/1.1 200 OK", True), (b"HTTP/1.1 503 Service Unavailable", False), (b"", False)]
)
def test_a_service_newer_than_its_files_is_asked(
    path: Path, answers: SimpleNamespace, line: bytes, ready: bool
) -> None:
    answers.line = line
    after = shown(changed_at(path) + timedelta(seconds=1))
    assert run(ACTIVE.format(start=after, reload=after), path, socket=answers.socket)["ready"] is ready
    assert answers.asked == 1


def test_a_service_without_its_socket_is_not_ready(path: Path, tmp_path: Path) -> None:
    after = shown(changed_at(path) + timedelta(seconds=1))
    assert run(ACTIVE.format(start=after, reload=after), path, socket=tmp_path / "none")["ready"] is False


def test_a_service_that_is_restarted_anyway_is_not_asked(path: Path, answers: SimpleNamespace) -> None:
    """A connection to one that is not active would make systemd start it."""
    before = shown(changed_at(path) - timedelta(seconds=1))
    inactive = "LoadState=loaded\nActiveState=inactive\nInactiveExitTimestamp=\n"
    for output in (ACTIVE.format(start=before, reload=before), inactive):
        assert run(output, path, socket=answers.socket)["ready"] is False
    assert answers.asked == 0


def test_the_module_takes_what_it_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {}

    def module(argument_spec: dict[str, Any], supports_check_mode: bool) -> None:
        taken.update(argument_spec)
        raise SystemExit

    monkeypatch.setattr(stale_service_info, "AnsibleModule", module)
    with pytest.raises(SystemExit):
        stale_service_info.main()
    documented = yaml.safe_load(stale_service_info.DOCUMENTATION)["options"]
    assert all(option.pop("description") for option in documented.values())
    assert taken == documented
    assert yaml.safe_load(stale_service_info.EXAMPLES)
    assert yaml.safe_load(stale_service_info.RETURN)
