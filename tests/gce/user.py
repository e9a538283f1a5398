"""What a user of Compute Engine does: playbooks and the inventory, with the stand-in's door in the environment."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.gce.standin.door import Door
from tests.support.lab import REPOSITORY, PlaybookRun, run_playbook

INVENTORY = REPOSITORY / "inventory" / "gce"
# Only an inventory that has a localhost can be limited to it.
_ON_PAPER = ("-i", "localhost,", "--limit", "localhost")


@dataclass(frozen=True)
class User:
    """Somebody with a login, an ssh key, settings and environment variables of their own. `folder` is theirs."""

    door: Door
    folder: Path
    ssh_sources: tuple[str, ...] = ("198.51.100.0/24",)
    exported: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "user@example.com", "-f", self.key]
        subprocess.run(key, check=True)

    @property
    def key(self) -> Path:
        """Their private key."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Where the host keys are kept."""
        return self.folder / ".gce" / "known_hosts"

    def playbook(self, playbook: str, *arguments: str, **variables: Any) -> PlaybookRun:
        """Runs a playbook, such as "playbooks/gce.yml", with variables in place of an edited inventory.

        Raises AssertionError, with the whole output, where it fails.
        """
        settings = {
            "gce_instance_ssh_sources": list(self.ssh_sources),
            "gce_instance_ssh_public_key": self.key.with_suffix(".pub").read_text("ascii").strip(),
            "gce_instance_known_hosts": str(self.known_hosts),
            "ansible_ssh_private_key_file": str(self.key),
            **variables,
        }
        extra = ("-i", str(INVENTORY), "-e", json.dumps(settings))
        return run_playbook(playbook, *extra, *arguments, environment={**self.door.environment, **self.exported})

    def gce(self, *arguments: str, **variables: Any) -> PlaybookRun:
        """Runs gce.yml, without the machines, which are only on paper."""
        return self.playbook("playbooks/gce.yml", *_ON_PAPER, *arguments, **variables)

    def teardown(self, *arguments: str) -> PlaybookRun:
        """Runs teardown.yml, likewise."""
        return self.playbook("playbooks/teardown.yml", *_ON_PAPER, *arguments)

    def inventory(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Lists the inventory, as JSON."""
        command = [Path(sys.executable).with_name("ansible-inventory"), "-i", INVENTORY, "--list"]
        whole = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.folder),
            **self.door.environment,
            **self.exported,
            **environment,
        }
        return subprocess.run(command, cwd=REPOSITORY, env=whole, capture_output=True, text=True, check=False)


def words(failure: pytest.ExceptionInfo[AssertionError]) -> str:
    """What a failed playbook said, without line breaks."""
    return " ".join(str(failure.value).split())
