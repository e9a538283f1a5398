"""A machine whose power is cut: by itself it serves again, and the next run puts right what is left to do.

The lab is on an ext4 file system of its own, in an image file. Shutting that down without its journal is what a power
cut does to a disk: what was written last is lost, and names are there whose content is not.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from barevision.client import Client
from barevision.models.catalogue import find_source
from barevision.objects import differences
from tests.support.lab import REPOSITORY, Lab
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not Path("/dev/loop-control").exists(), reason="a file system in a file needs loop devices"),
]

_MACHINE = "debian-12"
_GOLDEN = find_source("roadsigns").golden
# linux/ext4.h: EXT4_IOC_SHUTDOWN is _IOR('X', 125, __u32), EXT4_GOING_FLAGS_NOLOGFLUSH is 2.
_SHUT_DOWN, _WITHOUT_JOURNAL = 0x8004587D, 2


class Disk:
    """The file system that a lab's folder is on."""

    def __init__(self, lab: Lab) -> None:
        self._lab, self._image = lab, lab.root / "disk"
        with self._image.open("wb") as file:
            file.truncate(8 * 2**30)
        subprocess.run(["mkfs.ext4", "-q", self._image], check=True)
        lab.directory.mkdir()
        self._mount()

    def _mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", self._image, self._lab.directory], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", self._lab.directory], check=True)

    def cut_power(self) -> None:
        """Loses what is not on the disk yet, kills the machine, and makes what is on the disk readable again."""
        descriptor = os.open(self._lab.directory, os.O_RDONLY)
        fcntl.ioctl(descriptor, _SHUT_DOWN, struct.pack("I", _WITHOUT_JOURNAL))
        os.close(descriptor)
        processes = [line.split(None, 2) for line in _output("ps", "-ww", "-eo", "pid,ppid,args")]
        of_the_lab = {int(pid) for pid, _, command in processes if str(self._lab.directory) in command}
        # The first process of the machine takes all the others with it.
        first = {int(pid) for pid, parent, _ in processes[1:] if int(parent) in of_the_lab}
        for pid in sorted(of_the_lab | first):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in of_the_lab | first), "the machine's end")
        wait_until(self._unmounted, "nobody uses the disk any more")
        self._mount()

    def _unmounted(self) -> bool:
        return subprocess.run(["umount", self._lab.directory], check=False, capture_output=True).returncode == 0


def _output(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"), {_MACHINE: "bookworm"}, number=2)


@pytest.fixture(scope="module")
def disk(lab: Lab) -> Iterator[Disk]:
    lab.write_inventory()
    disk = Disk(lab)
    try:
        lab.up()
        subprocess.run(["sync", "--file-system", lab.directory], check=True)
        yield disk
    finally:
        lab.down()
        disk.unmount()


def _serves_by_itself(lab: Lab) -> None:
    url = f"http://{lab.address(_MACHINE)}"

    def is_ready() -> bool:
        try:
            return requests.get(f"{url}/readyz", timeout=5).ok
        except requests.RequestException:
            return False

    wait_until(is_ready, lambda: lab.ssh(_MACHINE, "sudo journalctl -b -u barevision -u nginx --no-pager -n 60"), 60)
    assert differences(_GOLDEN.expected, Client(url).predict(_GOLDEN.picture)) == []


def _converges(lab: Lab, site: str) -> None:
    lab.playbook(site)
    again = lab.playbook(site)
    assert again.changed == 0, again.output


def test_right_after_the_first_deployment(lab: Lab, disk: Disk) -> None:
    lab.playbook("site.yml")
    time.sleep(1)
    disk.cut_power()
    lab.up()
    _serves_by_itself(lab)
    again = lab.playbook("site.yml")
    assert again.changed == 0, again.output


@pytest.mark.parametrize("seconds", [10, 20, 30, None])
def test_in_the_middle_of_the_next_deployment(lab: Lab, disk: Disk, tmp_path: Path, seconds: int | None) -> None:
    """Or right after it, if `seconds` is None."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", REPOSITORY, clone], check=True)
    git = ["git", "-C", clone, "-c", "user.name=Test", "-c", "user.email=test@example.com"]
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "Another commit"], check=True)
    site = str(clone / "site.yml")
    with ThreadPoolExecutor() as pool:
        deployment = pool.submit(lab.playbook, site)
        with contextlib.suppress(TimeoutError):
            deployment.result(seconds)
        disk.cut_power()
        with contextlib.suppress(AssertionError):
            deployment.result()
    lab.up()
    _serves_by_itself(lab)
    _converges(lab, site)
