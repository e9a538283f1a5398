"""Every playbook is one that Ansible can read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.roles.rendering import ROOT, environment

_PLAYBOOKS = ["site.yml", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "playbooks").glob("*.yml")))]


@pytest.mark.parametrize("inventory", ["inventory/example", "inventory/lab"])
def test_every_playbook_can_be_read(inventory: str) -> None:
    ansible = Path(sys.executable).with_name("ansible-playbook")
    command = [ansible, "-i", inventory, "--syntax-check", *_PLAYBOOKS]

    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr


def test_the_example_inventory_has_the_group_that_site_asks_for() -> None:
    inventory = Path(sys.executable).with_name("ansible-inventory")

    done = subprocess.run(
        [inventory, "-i", "inventory/example", "--graph", "barevision"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert "detector-1" in done.stdout
