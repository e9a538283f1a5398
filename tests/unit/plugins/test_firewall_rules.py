"""Rules of nftables that lock nobody out: with stand-ins for nft and systemd."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.modules import firewall_rules
from plugins.modules.firewall_rules import Rules


class RefusedError(Exception):
    """What `fail_json` says."""


class Machine:
    """What nft has loaded and systemd is about to do; a process in an ssh session that began so many seconds ago."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder / "run", folder / "firewall.nft"
        self.table: str | None = None
        self.undo: str | None = None
        self.session_seconds = 0.0
        self.check_fails = False
        self.processes = folder / "proc"

    def rules(self, text: str) -> Rules:
        self.params = {"path": str(self.path), "rules": text, "table": "barevision", "undo_after": 60}
        self._write_processes()
        return Rules(self, self.folder, self.processes)

    def fail_json(self, msg: str) -> None:
        raise RefusedError(msg)

    def run_command(self, command: list[str], check_rc: bool = False, data: str | None = None) -> tuple[int, str, str]:
        match command:
            case ["nft", "--check", "--file", "-"]:
                if self.check_fails:
                    raise RefusedError("syntax error")
            case ["nft", "--file", "-"]:
                assert self.undo, "rules are loaded that nothing would take back"
                self.table = data
            case ["nft", "list", "table", "inet", "barevision"]:
                return (1, "", "") if self.table is None else (0, self.table, "")
            case ["systemd-run", "--unit=barevision-firewall-undo", "--on-active=60s", "--collect", "sh", "-c", undo]:
                self.undo = undo
            case ["systemctl", "stop", "barevision-firewall-undo.timer"]:
                self.undo = None
            case ["systemctl", "is-active", "--quiet", "barevision-firewall-undo.timer"]:
                return 0 if self.undo else 3, "", ""
            case _:
                raise AssertionError(command)
        return 0, "", ""

    def time_is_over(self) -> None:
        """What systemd does after a minute."""
        nft, remove = self.undo.split(" && ")
        self.table = Path(nft.removeprefix("nft --file ")).read_text("utf-8")
        Path(remove.removeprefix("rm --force ")).unlink()
        self.undo = None

    def _write_processes(self) -> None:
        ticks = os.sysconf("SC_CLK_TCK")
        for number, name, parent, started in (
            (os.getppid(), "sh", 70, 1e6),
            (70, "sshd-session: a (b", 1, 1e6 - self.session_seconds),
        ):
            (self.processes / str(number)).mkdir(parents=True, exist_ok=True)
            fields = ["S", str(parent), *["0"] * 17, str(int(started * ticks)), "0"]
            (self.processes / str(number) / "stat").write_text(f"{number} ({name}) {' '.join(fields)}")
        (self.processes / "uptime").write_text("1000000.00 5.00")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    return Machine(tmp_path)


def test_rules_are_tried_and_then_kept(machine: Machine) -> None:
    rules = machine.rules("new")
    assert not rules.are_loaded()
    rules.load()
    assert machine.table == "new"
    assert machine.undo
    assert not machine.path.exists()
    time.sleep(0.02)
    machine.rules("new").keep()
    assert not machine.undo
    assert machine.path.read_text("utf-8") == "new"
    assert machine.rules("new").are_loaded()
    assert machine.rules("new").are_kept()
    assert not machine.rules("other").are_loaded()


def test_rules_that_let_no_new_connection_in_are_taken_back(machine: Machine) -> None:
    machine.table = "old"
    rules = machine.rules("new")
    rules.load()
    machine.time_is_over()
    assert machine.table.endswith("\nold")
    with pytest.raises(RefusedError, match="no new connection came within 60 seconds"):
        rules.keep()
    assert not machine.path.exists()


def test_an_old_connection_keeps_nothing(machine: Machine) -> None:
    machine.session_seconds = 100
    rules = machine.rules("new")
    rules.load()
    with pytest.raises(RefusedError, match="this connection is older"):
        rules.keep()
    assert machine.undo
    assert not machine.path.exists()


def test_rules_that_nftables_refuses_are_not_loaded(machine: Machine) -> None:
    machine.table, machine.check_fails = "old", True
    with pytest.raises(RefusedError, match="syntax error"):
        machine.rules("new").load()
    assert machine.table == "old"
    assert not machine.undo


def test_a_table_that_somebody_removed_is_loaded_again(machine: Machine) -> None:
    machine.rules("new").load()
    machine.table = None
    assert not machine.rules("new").are_loaded()


def test_the_module_takes_what_it_documents() -> None:
    documented: dict[str, Any] = yaml.safe_load(firewall_rules.DOCUMENTATION)["options"]
    assert all(option.pop("description") for option in documented.values())
    assert documented == firewall_rules._ARGUMENTS
    assert yaml.safe_load(firewall_rules.EXAMPLES)
    assert yaml.safe_load(firewall_rules.RETURN)
