"""The role lab_machine without a lab: what its files say about each other."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
ROLE = REPOSITORY / "roles" / "lab_machine"


def _read(path: str) -> dict:
    return yaml.safe_load((ROLE / path).read_text())


def test_options_are_documented_with_their_defaults() -> None:
    options = _read("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    documented = {name: option["default"] for name, option in options.items() if "default" in option}

    assert documented == _read("defaults/main.yml")
    assert all(option.get("required") or "default" in option for option in options.values())


def test_the_inventory_gives_what_the_role_requires() -> None:
    options = _read("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    required = {name for name, option in options.items() if option.get("required")}
    inventory = [*(REPOSITORY / "inventory" / "lab" / "group_vars").glob("*.yml")]
    given = {name for path in inventory for name in yaml.safe_load(path.read_text())}

    # The machines themselves are the inventory's hosts, listed by playbooks/lab.yml.
    assert required - given == {"lab_machine_machines"}


def test_make_installs_every_tool_that_the_role_looks_for() -> None:
    line = re.search(r"^LAB_PACKAGES := (.*)$", (REPOSITORY / "packages.mk").read_text(), re.MULTILINE)

    assert line
    assert set(_read("vars/main.yml")["_lab_machine_tools"].values()) <= set(line[1].split())
