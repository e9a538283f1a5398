"""The module lab_network in a network namespace, with the kernel's own bridges, routes and firewall tables."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plugins.modules import lab_network
from tests.support.lab import NEEDS_LAB

pytestmark = NEEDS_LAB

BRIDGE = {"address": "10.99.1.1", "mtu": 1500, "up": True}


class ModuleError(Exception):
    """What the module fails with."""


class Computer:
    """A computer with no network yet."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *command: str, data: str | None = None) -> str:
        """What a command says there."""
        inside = ["ip", "netns", "exec", self.name, *command]
        done = subprocess.run(inside, input=data, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def add_uplink(self, mtu: int) -> None:
        """Gives it an interface with the default route."""
        self.run("ip", "link", "add", "uplink", "mtu", str(mtu), "type", "bridge")
        self.run("ip", "address", "add", "192.0.2.2/24", "dev", "uplink")
        self.run("ip", "link", "set", "uplink", "up")
        self.run("ip", "route", "add", "default", "via", "192.0.2.1")

    def interfaces(self) -> set[str]:
        return {link["ifname"] for link in json.loads(self.run("ip", "-json", "link"))}


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Computer]:
    switch = tmp_path / "ip_forward"
    switch.write_text("0\n")
    monkeypatch.setattr(lab_network, "_FORWARDING", switch)
    monkeypatch.setattr(lab_network, "_FORWARDING_BEFORE", tmp_path / "before")
    name = f"barevision-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield Computer(name)
    subprocess.run(["ip", "netns", "delete", name], check=True)


Module = Callable[..., dict[str, Any]]


@pytest.fixture
def module(computer: Computer) -> Module:
    """Runs lab_network on the computer, as a task does."""

    def run_command(command: list[str], data: str | None = None, check_rc: bool = False) -> tuple[int, str, str]:
        return 0, computer.run(*command, data=data), ""

    def fail(msg: str) -> None:
        raise ModuleError(msg)

    def run(check_mode: bool = False, **parameters: str) -> dict[str, Any]:
        params = {"bridge": "bvlab9", "subnet": "10.99.1", "state": "present", **parameters}
        return lab_network.run(
            SimpleNamespace(
                params=params,
                check_mode=check_mode,
                run_command=run_command,
                fail_json=fail,
                get_bin_path=lambda program, required: program,
            )
        )

    return run


def forwards() -> bool:
    return lab_network._FORWARDING.read_text() == "1\n"


def test_network_comes_stays_and_goes(computer: Computer, module: Module) -> None:
    before = computer.interfaces()

    made = module()
    assert made["changed"]
    assert made["diff"]["before"] == {"bridge": None, "firewall": None, "forwards": False}
    assert made["diff"]["after"]["bridge"] == BRIDGE
    assert (made["gateway"], made["mtu"]) == ("10.99.1.1", 1500)
    assert computer.interfaces() == before | {"bvlab9"}
    assert 'oifname != "bvlab9" masquerade' in computer.run("nft", "list", "ruleset")
    assert forwards()
    assert not module()["changed"]

    assert module(state="absent")["changed"]
    assert computer.interfaces() == before
    assert computer.run("nft", "list", "ruleset") == ""
    assert not forwards()
    assert not module(state="absent")["changed"]


def test_check_mode_says_the_same_and_does_nothing(computer: Computer, module: Module) -> None:
    before = computer.interfaces()
    planned = module(check_mode=True)
    assert computer.interfaces() == before
    assert not forwards()

    assert module() == planned

    planned = module(check_mode=True, state="absent")
    assert computer.interfaces() == before | {"bvlab9"}
    assert forwards()
    assert module(state="absent") == planned


@pytest.mark.parametrize(
    "damage",
    [
        ("ip", "link", "set", "bvlab9", "down"),
        ("ip", "link", "set", "bvlab9", "mtu", "1400"),
        ("ip", "address", "flush", "dev", "bvlab9"),
        ("ip", "link", "delete", "bvlab9"),
        ("nft", "flush", "table", "ip", "barevision-lab-bvlab9"),
        ("nft", "delete", "table", "ip", "barevision-lab-bvlab9"),
    ],
)
def test_what_is_missing_is_made_again(computer: Computer, module: Module, damage: tuple[str, ...]) -> None:
    state = module()["diff"]["after"]
    computer.run(*damage)

    again = module()

    assert again["changed"]
    assert again["diff"]["before"] != state
    assert module()["diff"]["before"] == state


@pytest.mark.parametrize("left", [{"bridge"}, {"firewall"}, {"forwards"}])
def test_interrupted_removal_is_continued(computer: Computer, module: Module, left: set[str]) -> None:
    module()
    if "bridge" not in left:
        computer.run("ip", "link", "delete", "bvlab9")
    if "firewall" not in left:
        computer.run("nft", "delete", "table", "ip", "barevision-lab-bvlab9")

    assert module(state="absent")["changed"]

    assert "bvlab9" not in computer.interfaces()
    assert computer.run("nft", "list", "ruleset") == ""
    assert not forwards()


def test_bridge_has_the_uplinks_largest_packet(computer: Computer, module: Module) -> None:
    computer.add_uplink(mtu=1380)

    assert module()["mtu"] == 1380
    assert json.loads(computer.run("ip", "-json", "link", "show", "bvlab9"))[0]["mtu"] == 1380


def test_last_lab_puts_the_forwarding_switch_back(computer: Computer, module: Module) -> None:
    module()
    module(bridge="bvlab8", subnet="10.99.2")

    module(state="absent")
    assert forwards()
    module(bridge="bvlab8", subnet="10.99.2", state="absent")
    assert not forwards()


def test_computer_that_forwarded_before_still_does(module: Module) -> None:
    lab_network._FORWARDING.write_text("1\n")

    module()
    module(state="absent")

    assert forwards()


def test_two_labs_that_are_made_at_once_leave_forwarding_as_it_was(
    module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    labs = [{"bridge": f"bvlab{number}", "subnet": f"10.99.{number}"} for number in (1, 2)]
    both_have_read = threading.Barrier(2)

    def wait(network: lab_network.Network) -> None:
        with suppress(threading.BrokenBarrierError):
            both_have_read.wait(0.5)

    monkeypatch.setattr(lab_network.Network, "refuse_conflicts", wait)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda lab: module(**lab), labs))
    assert forwards()
    for lab in labs:
        module(state="absent", **lab)
    assert not forwards()


def test_anothers_bridge_is_refused_and_never_removed(computer: Computer, module: Module) -> None:
    computer.run("ip", "link", "add", "bvlab9", "type", "bridge")

    with pytest.raises(ModuleError, match=r"the lab did not make it\. Pick another name"):
        module()
    assert not module(state="absent")["changed"]

    assert "bvlab9" in computer.interfaces()
    assert not forwards()


@pytest.mark.parametrize("subnet", ["192.0.2", "10.20.30"])
def test_subnet_in_use_is_refused(computer: Computer, module: Module, subnet: str) -> None:
    computer.add_uplink(mtu=1500)
    computer.run("ip", "route", "add", "10.16.0.0/12", "via", "192.0.2.9")

    with pytest.raises(ModuleError, match=rf"{subnet}.0/24 is in use on this computer: \S+ on uplink"):
        module(subnet=subnet)
    assert "bvlab9" not in computer.interfaces()


def test_firewall_that_drops_what_is_forwarded_is_refused(computer: Computer, module: Module) -> None:
    chain = "table ip filter {\n chain FORWARD {\n type filter hook forward priority filter; policy drop;\n%s\n}\n}"
    computer.run("nft", "--file", "-", data=chain % "")

    with pytest.raises(ModuleError, match="iptables -I DOCKER-USER -i bvlab9 -j ACCEPT"):
        module()
    assert "bvlab9" not in computer.interfaces()

    computer.run("nft", "--file", "-", data=chain % 'iifname "bvlab9" accept')
    assert module()["changed"]
