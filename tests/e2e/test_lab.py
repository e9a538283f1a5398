"""The lab itself: bare machines are made, stay, survive a reboot, and go without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.lab import FORWARDING, Lab
from tests.support.waiting import wait_until

# Another one after every start.
BOOT = "cat /proc/sys/kernel/random/boot_id"
# So that the login that asks for it ends well. Without the accuracy it may be a minute.
IN_A_SECOND = "sudo systemd-run --on-active=1 --timer-property=AccuracySec=1ms"
MACHINES = ("debian-12", "debian-13")


def test_second_run_changes_nothing_and_keeps_the_machines(lab: Lab) -> None:
    before = [lab.ssh(machine, BOOT) for machine in MACHINES]

    assert lab.up().changed == 0

    assert [lab.ssh(machine, BOOT) for machine in MACHINES] == before


@pytest.mark.parametrize(("machine", "version"), [("debian-12", "12"), ("debian-13", "13")])
def test_machine_is_a_bare_debian_with_a_user_who_may_sudo(lab: Lab, machine: str, version: str) -> None:
    assert lab.ssh(machine, ". /etc/os-release; echo $ID $VERSION_ID") == f"debian {version}"
    assert lab.ssh(machine, "hostname") == machine
    assert lab.ssh(machine, "sudo --non-interactive id --user") == "0"
    assert lab.ssh(machine, "systemctl is-system-running") == "running"
    installed = set(lab.ssh(machine, "dpkg-query --show --showformat='${Package}\n'").split())
    assert not installed & {"nginx", "git", "python3-venv", "python3-pip", "curl"}


def test_machines_share_no_identity(lab: Lab) -> None:
    for identity in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"):
        found = [lab.ssh(machine, f"cut -d' ' -f1,2 {identity}") for machine in MACHINES]
        assert all(found)
        assert len(set(found)) == len(MACHINES)


def test_machines_share_no_process_groups(lab: Lab) -> None:
    """One's systemd would remove the groups that the other one's has just made for a service."""
    # Its path, or a namespace of its own, in which the path says nothing.
    groups = [lab.ssh(machine, "sudo readlink /proc/1/ns/cgroup; cat /proc/1/cgroup") for machine in MACHINES]
    assert len(set(groups)) == len(MACHINES)


@pytest.mark.parametrize("machine", MACHINES)
def test_machine_reaches_the_package_registries(lab: Lab, machine: str) -> None:
    # Neither says it failed by its exit status alone: apt only warns when it keeps old lists.
    assert "Failed" not in lab.ssh(machine, "sudo apt-get update 2>&1", timeout=300)
    lab.ssh(machine, "sudo apt-get install --yes --no-install-recommends python3-venv 2>&1", timeout=300)
    lab.ssh(
        machine,
        "python3 -m venv venv && venv/bin/pip download --no-deps --dest wheels flask",
        timeout=300,
    )
    assert "flask" in lab.ssh(machine, "ls wheels")
    # The tests of site.yml begin with a bare machine.
    lab.ssh(machine, "rm -r venv wheels && sudo apt-get purge --yes --auto-remove python3-venv 2>&1", timeout=300)


def test_machines_come_back_after_their_own_reboot(lab: Lab) -> None:
    boots = {machine: lab.ssh(machine, f"{BOOT} && touch stays") for machine in MACHINES}
    for machine in MACHINES:
        lab.ssh(machine, f"{IN_A_SECOND} systemctl reboot")

    for machine, boot in boots.items():
        wait_until(partial(has_booted_again, lab, machine, boot), f"{machine} comes back", 120)
        state = lab.ssh(machine, "systemctl is-system-running --wait; systemctl --failed --no-legend --plain; true")
        assert state == "running", lab.ssh(machine, "sudo journalctl --boot --priority=warning --no-pager")
        lab.ssh(machine, "test -e stays")
    assert lab.up().changed == 0


def has_booted_again(lab: Lab, machine: str, boot: str) -> bool:
    try:
        return lab.ssh(machine, BOOT) != boot
    except AssertionError:
        return False


def test_check_mode_works_on_a_finished_lab(lab: Lab) -> None:
    assert lab.up("--check", "--diff").changed == 0


def test_machine_that_was_powered_off_is_started_again(lab: Lab) -> None:
    lab.ssh("debian-12", f"touch stays && {IN_A_SECOND} systemctl poweroff")

    def is_off() -> bool:
        return not any("nspawn" in trace and "debian-12" in trace for trace in lab.traces())

    wait_until(is_off, "debian-12 is off", 120)

    assert lab.up().changed == 1

    lab.ssh("debian-12", "test -e stays")


@pytest.mark.parametrize(
    ("variable", "complaint"),
    [
        ("lab_machine_bridge=lo", "the lab did not make it"),
        ("lab_machine_subnet=127.0.0", r"in use on this computer: 127\.\S+ on lo"),
        ("lab_machine_subnet=10.300.1", "Not possible"),
        ("lab_machine_user=root", "was made as"),
    ],
)
def test_what_is_not_possible_is_said_before_anything_changes(lab: Lab, variable: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        lab.up("-e", variable)


@pytest.fixture
def second_lab(lab: Lab, tmp_path: Path) -> Iterator[Lab]:
    """Another lab on the same computer, not made yet."""
    second = Lab(tmp_path / "a b", {"lab-1": "trixie"}, number=1)
    second.write_inventory()
    yield second
    second.down()


def test_second_lab_comes_and_goes_without_a_trace(lab: Lab, second_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "file:///only/on/this/computer")
    assert second_lab.up("--check").changed > 0
    assert second_lab.traces() == [str(second_lab.directory)], "check mode made something"
    # What an interrupted run leaves is never taken for a machine.
    (second_lab.directory / "machines" / "lab-1.partial" / "root").mkdir(parents=True)

    second_lab.up()
    assert second_lab.ssh("lab-1", "hostname") == "lab-1"
    assert len(second_lab.traces()) > 2
    for command in ("env", "sudo env"):
        assert "https_proxy=http://proxy.example:3128" in second_lab.ssh("lab-1", command).split()
    pip_settings = second_lab.ssh("lab-1", "cat /etc/pip.conf")
    assert "index-url = https://index.example/simple" in pip_settings
    assert "/only/on/this/computer" not in pip_settings

    second_lab.down()
    assert second_lab.traces() == []
    assert second_lab.down().changed == 0
    assert FORWARDING.read_text().strip() == "1", "the first lab still needs it"
    monkeypatch.undo()
    assert lab.up().changed == 0
