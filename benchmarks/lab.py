"""Barevision as deployed: on a lab machine, by site.yml."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import processes
from benchmarks.contestants import Arithmetic, Running
from benchmarks.environments import ROOT
from benchmarks.networks import MissingError, Network

# Starts the service, which was stopped before, and prints the seconds until it is ready, seen through NGINX. That is
# started as well, because it keeps the memory that many connections took.
_START = """
import subprocess, time, urllib.request
subprocess.run(["systemctl", "stop", "barevision.service"], check=True)
subprocess.run(["systemctl", "restart", "nginx.service"], check=True)
start = time.monotonic()
subprocess.run(["systemctl", "start", "barevision.service"], check=True)
while True:
    try:
        urllib.request.urlopen("http://127.0.0.1/readyz", timeout=10).read()
        break
    except OSError:
        time.sleep(0.02)
print("ready after", time.monotonic() - start)
"""


@contextmanager
def deployed(network: Network, arithmetic: Arithmetic, inventory: Path, log: Path) -> Iterator[Running]:
    """The network on the first machine of `inventory`, freshly started. It stays there.

    :raises MissingError: there is no such machine, or it can't be deployed to.
    """
    # The metrics are asked for from here, and others' machines may not.
    variables = {"app_model": network.reference, "nginx_metrics_sources": ["0.0.0.0/0"]}
    if arithmetic.engine != "auto":
        variables |= {"app_engine": arithmetic.engine, "app_precision": arithmetic.precision}
    log.write_text(_run("ansible-playbook", inventory, "site.yml", "-e", json.dumps(variables)))
    hosts = json.loads(_run("ansible-inventory", inventory, "--list"))["_meta"]["hostvars"]
    name = sorted(hosts)[0]
    # The inventory's address may be made of other variables.
    shown = _run("ansible", inventory, name, "-m", "ansible.builtin.debug", "-a", "var=ansible_host")
    address = re.search(r'ansible_host"?: "?([^\s"]+)', shown)[1]
    said = _run("ansible", inventory, name, "--become", "-m", "ansible.builtin.command", "-a", _quoted(_START))
    ready = float(re.search(r"ready after ([0-9.]+)", said)[1])
    yield Running(lambda: _pids(name), ready, f"http://{address}/predict", health=["/healthz", "/metrics"])


def _quoted(code: str) -> str:
    return json.dumps({"argv": ["python3", "-c", code]})


def _run(program: str, inventory: Path, *arguments: str) -> str:
    command = [str(Path(sys.executable).with_name(program)), "-i", str(inventory), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MissingError(
            f"barevision: {program} failed ('make lab-up' makes the machine): {done.stdout[-1500:]}{done.stderr}"
        )
    return done.stdout


def _pids(machine: str) -> list[int]:
    """What NGINX and Gunicorn are on the lab's `machine`, which shares this computer's kernel."""
    for entry in Path("/proc").glob("[0-9]*"):
        words = _command_line(int(entry.name))
        if words and Path(words[0]).name == "systemd-nspawn" and f"--hostname={machine}" in words:
            inside = processes.family(int(entry.name))
            return [
                pid for pid in inside if any(word in " ".join(_command_line(pid)) for word in ("gunicorn", "nginx"))
            ]
    return []


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []
