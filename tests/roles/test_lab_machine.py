"""The role lab_machine and its modules without a lab: what their files say about each other."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from plugins.modules import lab_machine, lab_network

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


@pytest.mark.parametrize("module", [lab_machine, lab_network], ids=lambda module: module.__name__)
def test_modules_take_what_they_document(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[str, Any] = {}

    def catch(argument_spec: dict[str, Any], supports_check_mode: bool) -> None:
        taken.update(argument_spec)
        raise SystemExit

    monkeypatch.setattr(module, "AnsibleModule", catch)
    with pytest.raises(SystemExit):
        module.main()

    assert _summary(taken, "options") == _summary(yaml.safe_load(module.DOCUMENTATION)["options"], "suboptions")
    for task in yaml.safe_load(module.EXAMPLES):
        assert task[module.__name__.rpartition(".")[2]].keys() <= taken.keys()


def _summary(options: dict[str, Any], nested: str) -> dict[str, Any]:
    """What an argument spec and a module's documentation both say about options."""
    return {
        name: {
            "type": option.get("type", "str"),
            "required": option.get("required", False),
            "default": option.get("default"),
            "choices": option.get("choices"),
            "options": _summary(option.get(nested, {}), nested),
        }
        for name, option in options.items()
    }
