"""The stand-in's instances: real machines that boot, log in, are filtered, and go. The tests stand in that order."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.gce.standin.lab_machines import LabMachines
from tests.support.lab import NEEDS_LAB
from tests.support.waiting import wait_until

pytestmark = [NEEDS_LAB, pytest.mark.long]

NAME = "web-1"
BOOT = "cat /proc/sys/kernel/random/boot_id"
SSH = {"name": "ssh", "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}], "sourceRanges": ["0.0.0.0/0"]}
WEB = {"name": "web", "allowed": [{"IPProtocol": "tcp", "ports": ["80-90"]}], "sourceRanges": ["0.0.0.0/0"]}


@dataclass(frozen=True)
class Cloud:
    """One machine, and what its user has: an external address, a key, and the word of host_keys."""

    machines: LabMachines
    folder: Path
    inside: str

    def key_line(self, key: str = "key") -> str:
        return f"ann:{(self.folder / f'{key}.pub').read_text('ascii').strip()}"

    @property
    def outside(self) -> str:
        return str(self.machines.external_network[51])

    def network(self, *firewalls: dict, outside: str = "") -> None:
        interface = {"network": "global/networks/default", "accessConfigs": [{"natIP": outside or self.outside}]}
        instance = {"name": NAME, "networkInterfaces": [interface], "tags": {"items": ["web"]}}
        self.machines.apply_network([SSH, *firewalls], [instance])

    def ssh(self, command: str) -> str:
        known_hosts = self.folder / "known_hosts"
        host_key = self.machines.host_keys(NAME)["ssh-ed25519"]
        known_hosts.write_text(f"{self.outside} ssh-ed25519 {host_key}\n", "ascii")
        options = {
            "UserKnownHostsFile": known_hosts,
            "StrictHostKeyChecking": "yes",
            "HostKeyAlgorithms": "ssh-ed25519",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": "5",
        }
        arguments = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        done = subprocess.run(
            ["ssh", "-F", "none", "-i", self.folder / "key", *arguments, f"ann@{self.outside}", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A running machine. Afterwards nothing of it may be left."""
    folder = tmp_path_factory.mktemp("gce")
    for key in ("key", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    machines = LabMachines(folder, number=3)
    try:
        cloud = Cloud(machines, folder, machines.create(NAME, "debian-12", {}))
        machines.set_metadata(NAME, {"ssh-keys": cloud.key_line()})
        yield cloud
    finally:
        machines.close()
    assert machines.traces() == []
    assert not (folder / "lab").exists()


def answers(address: str, port: int, patience: float = 3) -> bool:
    try:
        socket.create_connection((address, port), timeout=patience).close()
    except OSError:
        return False
    return True


def is_closed(address: str, port: int) -> bool:
    # What answers here does so within a millisecond.
    return not answers(address, port, 0.3)


def test_nothing_answers_before_a_rule_says_so(cloud: Cloud) -> None:
    assert is_closed(cloud.inside, 22)


def test_user_of_the_metadata_logs_in_and_may_sudo(cloud: Cloud) -> None:
    cloud.network()

    assert cloud.ssh("id --user --name; sudo --non-interactive id --user").split() == ["ann", "0"]
    assert cloud.ssh("cat .ssh/authorized_keys") == "# Added by Google\n" + cloud.key_line().removeprefix("ann:")
    assert cloud.ssh("hostname; systemctl is-system-running").split() == [NAME, "running"]


@pytest.mark.parametrize("case", ["another key", "no key", "another user", "OS Login"])
def test_key_that_is_taken_out_no_longer_logs_in(cloud: Cloud, case: str) -> None:
    cloud.network()
    metadata = {
        "another key": {"ssh-keys": cloud.key_line("other")},
        "no key": {},
        "another user": {"ssh-keys": cloud.key_line().replace("ann:", "bob:")},
        "OS Login": {"ssh-keys": cloud.key_line(), "enable-oslogin": "TRUE"},
    }
    cloud.machines.set_metadata(NAME, metadata[case])
    with pytest.raises(AssertionError, match="Permission denied"):
        cloud.ssh("true")

    cloud.machines.set_metadata(NAME, {"ssh-keys": f"{cloud.key_line('other')}\n{cloud.key_line()}"})
    cloud.ssh("sudo --non-interactive true")


def test_ports_answer_as_the_rules_say(cloud: Cloud) -> None:
    cloud.network(WEB)
    cloud.ssh("sudo systemd-run --quiet --unit=web python3 -m http.server 80")
    wait_until(lambda: answers(cloud.outside, 80), "port 80 answers")
    assert answers(cloud.inside, 80)

    here = f"{cloud.machines.source}/32"
    denied = {"name": "no", "denied": [{"IPProtocol": "all"}], "sourceRanges": [here]}
    closed = {
        "no rule": [],
        "another source": [{**WEB, "sourceRanges": ["198.51.100.0/24"]}],
        "another tag": [{**WEB, "targetTags": ["db"]}],
        "another port": [{**WEB, "allowed": [{"IPProtocol": "tcp", "ports": ["81"]}]}],
        "another protocol": [{**WEB, "allowed": [{"IPProtocol": "udp", "ports": ["80"]}]}],
        "another network": [{**WEB, "network": "global/networks/other"}],
        "disabled": [{**WEB, "disabled": True}],
        "outgoing": [{**WEB, "direction": "EGRESS"}],
        "denied at the same priority": [WEB, denied],
    }
    for why, rules in closed.items():
        cloud.network(*rules)
        assert is_closed(cloud.outside, 80), why
    assert is_closed(cloud.inside, 80)

    opened = {
        "this source": [{**WEB, "sourceRanges": ["198.51.100.0/24", here, "10.0.0.0/8"]}],
        "this tag": [{**WEB, "targetTags": ["db", "web"]}],
        "every protocol": [{**WEB, "allowed": [{"IPProtocol": "all"}]}],
        "by number": [{**WEB, "allowed": [{"IPProtocol": "6", "ports": ["80"]}]}],
        "sources of a tag, too": [{**WEB, "sourceTags": ["web"]}],
        "denied later": [{**WEB, "priority": 999}, denied],
    }
    for why, rules in opened.items():
        cloud.network(*rules)
        assert answers(cloud.outside, 80), why


def test_machine_connects_to_others(cloud: Cloud) -> None:
    cloud.network()
    with socket.create_server((cloud.machines.source, 0)) as server:
        cloud.ssh(f"timeout 5 bash -c '</dev/tcp/{cloud.machines.source}/{server.getsockname()[1]}'")


def test_external_address_moves(cloud: Cloud) -> None:
    other = str(cloud.machines.external_network[52])
    cloud.network(outside=other)
    assert answers(other, 22)
    assert not any(cloud.outside in trace for trace in cloud.machines.traces())

    with pytest.raises(ValueError, match=r"192\.0\.2\.1 of web-1 is not in 198"):
        cloud.network(outside="192.0.2.1")
    assert answers(other, 22)


def test_what_cannot_be_done_is_said(cloud: Cloud) -> None:
    with pytest.raises(ValueError, match="image family ubuntu-2404-lts"):
        cloud.machines.create("web-2", "ubuntu-2404-lts", {})
    with pytest.raises(ValueError, match="web-1 exists already"):
        cloud.machines.create(NAME, "debian-12", {})
    with pytest.raises(ValueError, match="startup-script"):
        cloud.machines.set_metadata(NAME, {"startup-script": "true"})
    with pytest.raises(ValueError, match="no machine web-2"):
        cloud.machines.start("web-2")


def test_stop_start_and_reset_keep_the_files(cloud: Cloud) -> None:
    cloud.network()
    boots = [cloud.ssh(f"touch stays && sync && {BOOT}")]

    cloud.machines.stop(NAME)
    assert is_closed(cloud.outside, 22)
    cloud.machines.start(NAME)
    boots.append(cloud.ssh(f"test -e stays && {BOOT}"))

    cloud.machines.reset(NAME)
    boots.append(cloud.ssh(f"test -e stays && {BOOT}"))
    assert len(set(boots)) == 3


def test_deleted_machine_leaves_no_trace(cloud: Cloud) -> None:
    cloud.network()
    cloud.machines.delete(NAME)

    traces = cloud.machines.traces()
    assert not any(word in trace for trace in traces for word in (NAME, cloud.outside, "nspawn"))
    rules = subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout
    assert cloud.inside not in rules
    assert not list(cloud.folder.rglob(NAME))
    with pytest.raises(ValueError, match="no machine web-1"):
        cloud.machines.host_keys(NAME)
