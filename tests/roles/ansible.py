"""Runs playbooks on this machine, for tests."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.roles.rendering import ROOT, environment, read_yaml


@dataclass(frozen=True)
class Run:
    """What a run of ansible-playbook came to. `output` is everything it printed, in one line each."""

    status: int
    output: str

    @property
    def changed(self) -> int:
        """How many tasks changed something."""
        return int(re.search(r"changed=(\d+)", self.output)[1])

    @property
    def words(self) -> str:
        """The output with every run of white space as one space, to look for a sentence in."""
        return " ".join(self.output.split())


def run_role(role: str, folder: Path, *arguments: str, facts: dict | None = None, **variables: object) -> Run:
    """Runs `role` on this machine with `variables`, its playbook in `folder`, with site.yml's environment.

    :param facts: in place of those that this machine has.
    """
    site = read_yaml("site.yml")[0]
    tasks = [{"ansible.builtin.set_fact": {**facts, "cacheable": True}}] if facts else []
    play = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": not facts,
            "gather_subset": site["gather_subset"],
            "environment": site["environment"],
            "pre_tasks": tasks,
            "roles": [role],
        }
    ]
    playbook = folder / "playbook.yml"
    playbook.write_text(yaml.safe_dump(play))
    ansible = Path(sys.executable).with_name("ansible-playbook")
    command = [str(ansible), "-i", "localhost,", str(playbook), "-e", json.dumps(variables), *arguments]
    # With a strict umask, as on a hardened machine.
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, umask=0o077
    )
    return Run(done.returncode, done.stdout + done.stderr)


@dataclass(frozen=True)
class HostRun:
    """What a run came to on one host: how many tasks changed something, and what the failed one said, in one line."""

    changed: int
    failure: str


def run_on_hosts(folder: Path, hosts: dict[str, dict], tasks: list[dict], *arguments: str) -> dict[str, HostRun]:
    """Runs `tasks` on all `hosts`, each of them this machine with variables of its own. The playbook is in `folder`."""
    (folder / "inventory.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    play = {
        "hosts": "all",
        "connection": "local",
        "gather_facts": False,
        "environment": read_yaml("site.yml")[0]["environment"],
        "tasks": tasks,
    }
    (folder / "playbook.yml").write_text(yaml.safe_dump([play]))
    ansible = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [ansible, "-i", folder / "inventory.yml", folder / "playbook.yml", *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        umask=0o077,
    )
    assert "PLAY RECAP" in done.stdout, done.stdout + done.stderr
    said = dict(
        re.findall(r"^(?:fatal|failed): \[(\S+?)(?: -> \S+)?\](.*?)(?=^\S)", done.stdout, re.MULTILINE | re.DOTALL)
    )
    recap = re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+)", done.stdout, re.MULTILINE)
    return {
        name: HostRun(int(changed), " ".join(said.get(name, "").split()).replace("''", "'")) for name, changed in recap
    }
