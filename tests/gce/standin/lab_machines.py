"""Lab machines as the instances of the stand-in for Google Compute Engine.

The machines are the role lab_machine's own. What Google's side does to an instance is done here from outside: its guest
agent's users and keys, its firewall, its external addresses.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

from tests.gce.standin.nftables import external_addresses, ruleset
from tests.support.lab import Lab
from tests.support.waiting import wait_until

RELEASES = {"debian-12": "bookworm", "debian-13": "trixie"}

_GUEST_AGENT = Path(__file__).with_name("guest-agent").read_text("utf-8")
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,40}[a-z0-9])?")
_ADDRESSES = range(11, 255)
_PATIENCE = 90.0


def _one_at_a_time(method: Callable) -> Callable:
    @functools.wraps(method)
    def alone(self: LabMachines, *arguments: object) -> object:
        with self._lock:
            return method(self, *arguments)

    return alone


class LabMachines:
    """Machines that come and go one by one, on a bridge of their own, behind Google's firewall.

    No machine answers anybody before apply_network says so. Methods may be called from several threads; what fails
    raises ValueError where the caller asked for something impossible, and AssertionError or CalledProcessError, with
    what was said, where the machine's side failed.

    :param root: an existing folder, for everything that is written.
    :param number: tells the labs of one test run apart, as `tests.support.lab.Lab` has it.
    """

    def __init__(self, root: Path, number: int = 2) -> None:
        self._lab = Lab(root / "lab", {}, number)
        self._table = f"{self._lab.table}-gce"
        self._lock = threading.RLock()
        self._addresses: dict[str, str] = {}
        self._last_address = 0
        self._firewalls: list[dict] = []
        self._instances: list[dict] = []
        self.external_network = self._lab.external_network
        self._lab.root.mkdir()

    @property
    def source(self) -> str:
        """The address that the machines see this computer at: what a firewall rule's sourceRanges have to let in."""
        return f"{self._lab.subnet}.1"

    @_one_at_a_time
    def create(self, name: str, image_family: str, metadata: dict[str, str]) -> str:
        """Makes and starts a machine, waits until it has booted, and returns its internal address."""
        if image_family not in RELEASES:
            raise ValueError(f"image family {image_family}: only {', '.join(RELEASES)} can be made here")
        if not _NAME.fullmatch(name) or name in self._addresses:
            raise ValueError(f"{name} exists already, or is no name for a lab machine (42 characters at most)")
        _check_metadata(metadata)
        number = self._free_number()
        self._lab = dataclasses.replace(self._lab, machines={name: RELEASES[image_family]}, first_address=number)
        self._addresses[name] = self._lab.address(name)
        self._last_address = number
        try:
            self._make(name, metadata)
        except BaseException:
            self._discard(name)
            raise
        return self._addresses[name]

    def _make(self, name: str, metadata: dict[str, str]) -> None:
        # The firewall first: it's closed from the first packet on.
        self._load_network()
        self._lab.write_inventory()
        # The play that logs in to the machines would not get past the firewall. Without -i --limit knows no localhost.
        self._lab.up("-i", "localhost,", "--limit", "localhost")
        self._wait_for_boot(name)
        self.set_metadata(name, metadata)

    def _free_number(self) -> int:
        """Not the one given back last: this computer would look for the new machine at the old one's MAC."""
        taken = {int(address.rpartition(".")[2]) for address in self._addresses.values()}
        free = [number for number in _ADDRESSES if number not in taken]
        if not free:
            raise ValueError("no address is left in the lab's network")
        return next((number for number in free if number > self._last_address), free[0])

    @_one_at_a_time
    def start(self, name: str) -> None:
        """Starts a machine, unless it runs, and waits until it has booted."""
        self._change(name, "started")
        self._wait_for_boot(name)

    @_one_at_a_time
    def stop(self, name: str) -> None:
        """Shuts a machine down in an orderly way, and waits until it is off."""
        self._change(name, "stopped")

    @_one_at_a_time
    def reset(self, name: str) -> None:
        """Pulls a machine's plug, and starts it again."""
        self._require(name)
        if init := self._init(name):
            # nspawn's own end would not be the machine's. This one ends all of its processes at once, and then nspawn.
            os.kill(init, signal.SIGKILL)
            wait_until(lambda: not self._processes_of(name), f"{name} is off", _PATIENCE)
        self.start(name)

    @_one_at_a_time
    def delete(self, name: str) -> None:
        """Shuts a machine down, and removes its files."""
        self._require(name)
        self._discard(name)

    def _discard(self, name: str) -> None:
        # The state of a machine can't be asked for before the role has begun to make it.
        if self._root(name).exists():
            self._change(name, "absent")
        del self._addresses[name]
        self._load_network()

    @_one_at_a_time
    def set_metadata(self, name: str, metadata: dict[str, str]) -> None:
        """Does what Google's guest agent would, in a running or a stopped machine: the users and keys of `ssh-keys`."""
        self._require(name)
        _check_metadata(metadata)
        oslogin = metadata.get("enable-oslogin", "").upper() == "TRUE"
        subprocess.run(
            ["chroot", self._root(name), "/bin/sh", "-c", _GUEST_AGENT],
            input="" if oslogin else metadata.get("ssh-keys", ""),
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            text=True,
            check=True,
        )

    @_one_at_a_time
    def host_keys(self, name: str) -> dict[str, str]:
        """The public host keys of a machine, base64, by type, such as "ssh-ed25519"."""
        self._require(name)
        files = sorted((self._root(name) / "etc" / "ssh").glob("ssh_host_*_key.pub"))
        return dict(path.read_text("ascii").split()[:2] for path in files)

    @_one_at_a_time
    def apply_network(self, firewalls: list[dict], instances: list[dict]) -> None:
        """Makes the firewall and the external addresses what these resources of the Compute API, all there are, say.

        Raises ValueError, and changes nothing, for what can't be done here.
        """
        self._load_network(firewalls, instances)

    @_one_at_a_time
    def close(self) -> None:
        """Takes everything down. Nothing is left."""
        # First: the role puts the forwarding switch back only when no lab's table is left.
        _run("nft", "-f", "-", stdin=f"table ip {self._table}\ndelete table ip {self._table}\n")
        if self._lab.inventory.exists():
            self._lab.down()
        self._addresses.clear()
        shutil.rmtree(self._lab.root)

    def traces(self) -> list[str]:
        """What of all this exists right now, in words."""
        return self._lab.traces()

    def _load_network(self, firewalls: list[dict] | None = None, instances: list[dict] | None = None) -> None:
        firewalls = self._firewalls if firewalls is None else firewalls
        instances = self._instances if instances is None else instances
        addresses = external_addresses({item["name"]: item for item in instances if item["name"] in self._addresses})
        self._check_external(addresses)
        rules = ruleset(self._table, self._addresses, firewalls, instances)
        _run("nft", "-f", "-", stdin=rules)
        self._firewalls, self._instances = firewalls, instances
        self._route(set(addresses.values()))

    def _check_external(self, addresses: dict[str, str]) -> None:
        for name, address in addresses.items():
            # Taking over another would cut this computer off from whoever owns it.
            if IPv4Address(address) not in self.external_network:
                raise ValueError(f"the external address {address} of {name} is not in {self.external_network}")

    def _route(self, wanted: set[str]) -> None:
        """Sends the packets for external addresses to the bridge, so that they come from the bridge's own address."""
        if not Path("/sys/class/net", self._lab.bridge).exists():
            return
        listed = json.loads(_run("ip", "-json", "route", "show", "dev", self._lab.bridge) or "[]")
        present = {route["dst"] for route in listed} - {f"{self._lab.subnet}.0/24"}
        for address in present - wanted:
            _run("ip", "route", "delete", f"{address}/32", "dev", self._lab.bridge)
        for address in wanted - present:
            _run("ip", "route", "add", f"{address}/32", "dev", self._lab.bridge)

    def _change(self, name: str, change: str) -> None:
        self._require(name)
        self._lab.playbook("tests/gce/standin/machine.yml", "-e", f"machine={name}", "-e", f"change={change}")

    def _require(self, name: str) -> None:
        if name not in self._addresses:
            raise ValueError(f"there is no machine {name}")

    def _root(self, name: str) -> Path:
        return self._lab.directory / "machines" / name / "private" / "root"

    def _processes_of(self, name: str) -> list[int]:
        """This computer's processes that keep a machine running."""
        home = str(self._lab.directory / "machines" / name)
        arguments = {home.encode(), f"{home}/run".encode(), f"--directory={self._root(name)}".encode()}
        return [process for process in _processes() if not arguments.isdisjoint(_arguments(process))]

    def _init(self, name: str) -> int | None:
        """The machine's process 1, which has another number here."""
        keepers = {str(process) for process in self._processes_of(name)}
        for process in _processes():
            status = _status(process)
            if status.get("PPid") in keepers and status["NSpid"].split()[1:] == ["1"]:
                return process
        return None

    def _wait_for_boot(self, name: str) -> None:
        wait_until(lambda: self._has_booted(name), f"{name} has booted", _PATIENCE)

    def _has_booted(self, name: str) -> bool:
        init = self._init(name)
        if not init:
            return False
        inside = ["nsenter", "--all", "--target", str(init)]
        question = [*inside, "systemctl", "is-system-running", "--wait"]
        done = subprocess.run(question, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.stdout.strip() not in ("running", "degraded"):
            return False
        # No unit of the machine waits for its network, so that one that has booted may not have its address yet.
        question = [*inside, "/usr/lib/systemd/systemd-networkd-wait-online", "--timeout=10"]
        return subprocess.run(question, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def _check_metadata(metadata: dict[str, str]) -> None:
    if "startup-script" in metadata:
        raise ValueError("lab machines run no startup-script")


def _processes() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]


def _arguments(process: int) -> list[bytes]:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def _status(process: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{process}/status").read_text("utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _run(*command: str, stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} failed with {done.returncode}:\n{done.stderr}\n{stdin}")
    return done.stdout
