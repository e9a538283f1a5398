"""What runs where: the module that reads a machine, and the table of all of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from plugins.filter.status_table import status_table
from plugins.modules import deployment_status_info

COMMIT, OTHER, BAD = "a" * 40, "b" * 40, "c" * 40
UPGRADES = "Reading package lists...\nInst nginx [1.22] (1.23 Debian)\nInst openssl [3.0.1] (3.0.2)\nConf nginx\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A deployment with three releases, of which one failed."""
    for age, (commit, mark) in enumerate(((OTHER, ".machine"), (COMMIT, ".machine"), (BAD, ".failed"))):
        release = tmp_path / "releases" / commit
        release.mkdir(parents=True)
        (release / mark).touch()
        os.utime(release / mark, (age, age))
    (tmp_path / "current").symlink_to(f"releases/{COMMIT}")
    return tmp_path


def read(root: Path, socket: Path | None = None) -> dict[str, Any]:
    def run_command(command: list[str], **options: object) -> tuple[int, str, str]:
        if command[0] == "openssl":
            return 0, "notAfter=Jan  2 12:00:00 2030 GMT\n", ""
        assert command[0] == "apt-get"
        return 0, UPGRADES, ""

    params = {name: str(root / name) for name in ("maintenance", "certificate")}
    params |= {"root": str(root), "socket": str(socket or root / "none")}
    return deployment_status_info.run(SimpleNamespace(params=params, run_command=run_command))


def note(root: Path, **line: str) -> None:
    with (root / "releases.log").open("a") as file:
        file.write(json.dumps(line) + "\n")


def test_it_says_what_runs_since_when_and_by_whom(root: Path, answers: SimpleNamespace) -> None:
    answers.body = b'{"detail": "all boxes were found"}'
    note(root, event="deployed", release=OTHER, time="2026-01-01T00:00:00Z", by="ada", host="laptop")
    note(root, event="deployed", release=COMMIT, time="2026-01-02T00:00:00Z", by="bob", host="desk")
    note(root, event="failed", release=COMMIT, time="2026-01-03T00:00:00Z", by="eve", host="desk")
    with (root / "releases.log").open("a") as file:
        file.write("half a li")
    found = read(root, answers.socket)
    assert found["release"] == COMMIT
    assert (found["since"], found["by"], found["host"]) == ("2026-01-02T00:00:00Z", "bob", "desk")
    assert (found["ready"], found["detail"]) == (True, "all boxes were found")
    assert (found["good_releases"], found["failed_releases"]) == ([OTHER, COMMIT], [BAD])
    assert found["pending_upgrades"] == 2
    assert not found["maintenance"]


def test_without_a_history_the_link_says_since_when(root: Path) -> None:
    os.utime(root / "current", (0, 0), follow_symlinks=False)
    (root / "maintenance").touch()
    found = read(root)
    assert (found["since"], found["by"], found["ready"]) == ("1970-01-01T00:00:00Z", "", False)
    assert found["detail"] == "it does not answer"
    assert found["maintenance"]


def test_it_says_for_how_long_the_certificate_is_valid(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(root)["certificate_days"] is None
    (root / "certificate").touch()
    monkeypatch.setattr(deployment_status_info.time, "time", lambda: 1_893_456_000.0)
    assert read(root)["certificate_days"] == 1


def test_a_bare_machine_has_nothing_to_say(tmp_path: Path) -> None:
    found = read(tmp_path / "nothing")
    assert (found["release"], found["since"], found["ready"]) == ("", "", False)


def test_the_table_has_a_line_for_each_machine(root: Path) -> None:
    first = read(root) | {"ready": True, "by": "ada", "host": "laptop", "since": "2026-01-01T00:00:00Z"}
    first |= {"pending_upgrades": 0, "needs_reboot": False, "disk_free_percent": 50}
    first |= {"certificate_days": 60}
    second = first | {"ready": False, "detail": "missing: elephant", "maintenance": True, "disk_free_percent": 3}
    second |= {"pending_upgrades": 2, "needs_reboot": True, "certificate_days": 3}
    assert status_table({"vm-1": first, "vm-10": second}).splitlines() == [
        "machine  release       since                 by             answers                to look at",
        "vm-1     aaaaaaaaaaaa  2026-01-01T00:00:00Z  ada on laptop  rightly",
        "vm-10    aaaaaaaaaaaa  2026-01-01T00:00:00Z  ada on laptop  no: missing: elephant  out of service by "
        "maintenance.yml; 3 % of the disk is free; the certificate ends in 3 days; an upgrade wants a reboot; "
        "2 upgrades",
    ]


def test_the_module_takes_what_it_documents() -> None:
    documented = yaml.safe_load(deployment_status_info.DOCUMENTATION)["options"]
    assert all(option.pop("description") for option in documented.values())
    assert documented == deployment_status_info._ARGUMENTS
    assert yaml.safe_load(deployment_status_info.EXAMPLES)
    assert yaml.safe_load(deployment_status_info.RETURN).keys() == read(Path("/nothing")).keys()
