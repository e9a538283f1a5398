"""What tests do to machines that site.yml has made, and how they look at them."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import requests

from barevision.client import Client
from barevision.models.catalogue import find_source
from barevision.objects import differences
from tests.support.lab import REPOSITORY, Lab
from tests.support.waiting import wait_until

GOLDEN = find_source("roadsigns").golden

# A module that Python imports before all others: it makes the predictions of one process hang.
HANGS = """
import importlib.abc, importlib.machinery, os, pathlib, sys, time

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "barevision.detector":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (load(module), hang(module.Detector))
        return spec

def hang(detector):
    infer, pid = detector.infer, pathlib.Path("/run/hang/pid")
    def hanging(self, image):
        while pid.is_file() and pid.read_text().strip() == str(os.getpid()):
            time.sleep(0.1)
        return infer(self, image)
    detector.infer = hanging

sys.meta_path.insert(0, Finder())
"""


def url(lab: Lab, machine: str, path: str = "") -> str:
    return f"http://{lab.address(machine)}{path}"


def assert_answers_rightly(lab: Lab, machine: str, key: str | None = None) -> None:
    client = Client(url(lab, machine), retries=0, key=key)
    assert differences(GOLDEN.expected, client.predict(GOLDEN.picture)) == []


def journal(lab: Lab, machine: str) -> str:
    return lab.ssh(machine, "sudo journalctl --unit barevision.service --no-pager --lines 100")


def what_runs(lab: Lab, machine: str) -> str:
    return lab.ssh(machine, "readlink /opt/barevision/current; systemctl show --property MainPID barevision.service")


def signal_service(lab: Lab, machine: str, signal: str) -> None:
    """Sends a signal to every process of the service. Only one that ended meanwhile may miss it.

    `systemctl kill` fails where the host's control groups can't be written.
    """
    each = 'for process in $(find /proc -maxdepth 1 -user barevision -printf "%f ")'
    send = f"kill -{signal} $process || test ! -e /proc/$process || exit 1"
    lab.ssh(machine, f"sudo sh -c '{each}; do {send}; done'")


def clone_repository(folder: Path) -> Path:
    """Another checkout of this repository, in `folder`."""
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", REPOSITORY, folder], check=True)
    return folder


def commit(clone: Path, message: str) -> str:
    """Commits what is changed there, or nothing, and returns the commit's name."""
    git = ["git", "-C", clone, "-c", "user.name=Test", "-c", "user.email=test@example.com"]
    subprocess.run([*git, "commit", "--quiet", "--all", "--allow-empty", "--message", message], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def service_with(lab: Lab, machine: str, environment: str) -> Iterator[None]:
    """The service, started with more in its `environment`."""
    folder = "/run/systemd/system/barevision.service.d"
    restart = "sudo systemctl daemon-reload && sudo systemctl restart barevision.service"
    lab.ssh(machine, f"sudo mkdir {folder}")
    lab.ssh(machine, f"printf '[Service]\nEnvironment={environment}\n' | sudo tee {folder}/test.conf && {restart}")
    try:
        wait_until(lambda: requests.get(url(lab, machine, "/readyz"), timeout=30).ok, "the service is ready")
        yield
    finally:
        lab.ssh(machine, f"sudo rm -r {folder} && {restart}")


def workers(lab: Lab, machine: str) -> set[str]:
    """The numbers of the service's processes but for Gunicorn's own."""
    return set(
        lab.ssh(machine, "pgrep --parent $(systemctl show --property MainPID --value barevision.service)").split()
    )


@contextlib.contextmanager
def service_that_may_hang(lab: Lab, machine: str) -> Iterator[None]:
    """The service, in which the process that the file /run/hang/pid names never ends a prediction."""
    lab.ssh(machine, "sudo mkdir /run/hang")
    lab.ssh(machine, f"sudo tee /run/hang/sitecustomize.py <<'END'\n{HANGS}\nEND")
    try:
        with service_with(lab, machine, "PYTHONPATH=/run/hang BAREVISION_HUNG_AFTER=3"):
            yield
    finally:
        lab.ssh(machine, "sudo rm -r /run/hang")
