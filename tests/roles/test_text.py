"""What `-e NAME=VALUE` hands over is text: every variable of every role may be given so, and means the same.

A role's argument specs take text for a number, a switch or a list, but the role still gets the text. So wherever a role
uses such a variable, it has to make it what it is. Each template, and each part of a task, that depends on one is
rendered here with the value and with its text.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import lookup_loader
from ansible.template import Templar, trust_as_template

from tests.roles.rendering import ROOT, SITE_ROLES, find_plugins, read_yaml

_MACHINE = {"name": "m", "address": "10.0.0.2", "release": "bookworm"}
#: By type: values, and the texts of each. A default's own value would hide that the variable is not used at all.
_VALUES: dict[str, list[tuple[Any, tuple[str, ...]]]] = {
    "bool": [(True, ("true", "yes", "on", "1", "True")), (False, ("false", "no", "off", "0", "False"))],
    "int": [(7777, ("7777", " 7777", "7777.0"))],
    "float": [(0.375, ("0.375", "3.75e-1"))],
    "list": [(["a1", "b2"], ("a1,b2", "a1, b2", '["a1", "b2"]'))],
    "dict": [({"x86_64": "a1"}, ('{"x86_64": "a1"}', "x86_64=a1"))],
}
_VALUES["list of int"] = [([7777, 8888], ("7777,8888", "7777, 8888"))]
_VALUES["list of dict"] = [([_MACHINE], (json.dumps([_MACHINE]), "a1"))]
_BLOCKS = ("block", "rescue", "always")
_CONDITIONS = ("when", "that", "until", "changed_when", "failed_when")
#: What a run knows by the time that a task is run: facts, what earlier tasks registered, and what the role is given.
_KNOWN: dict[str, Any] = {
    "inventory_hostname": "vm",
    "inventory_dir": "/nowhere",
    "ansible_check_mode": False,
    "ansible_host": "192.0.2.1",
    "ansible_playbook_python": "/usr/bin/python3",
    "role_path": str(ROOT / "roles" / "app"),
    "role_name": "app",
    "playbook_dir": str(ROOT),
    "ansible_facts": {
        "architecture": "x86_64",
        "distribution": "Debian",
        "distribution_version": "12.5",
        "distribution_major_version": "12",
        "memtotal_mb": 2000,
        "mounts": [{"mount": "/", "size_available": 10**10}],
        "python": {"version": {"major": 3, "minor": 11}, "executable": "/usr/bin/python3"},
        "service_mgr": "systemd",
        "system": "Linux",
        "effective_user_id": 0,
        "user_id": "root",
    },
    "__app_commit": "0" * 40,
    "__app_model_files": {},
    "__app_state": {"environment": "/e", "trial": {}, "damage": [], "removable": []},
    "__app_requirements": {"stdout": '{"memory_bytes": 1, "disk_bytes": 1}'},
    "__app_prepared": {"stdout": '{"path": "/p.onnx"}'},
    "__app_smoke": {"stderr": ""},
    "__preflight_needs": {"error": "", "name": "m", "verified": True, "disk_bytes": 1, "memory_bytes": 1},
    "__preflight_conda": {"stat": {"exists": False}},
    "groups": {"barevision": ["vm"]},
    "__hardening_keys": {"content": ""},
    "__tls_current": {"stat": {"exists": True}},
    "__tls_obtained": {"subject_alt_name": ["DNS:a1"], "expired": False},
    "__tls_request": {"csr": ""},
    "__nginx_default": {"stat": {"exists": False}},
    "__nginx_linked": {"stat": {"exists": False}},
    "__nginx_listening": {"stdout": ""},
    "__nginx_others": {"stdout": "", "stderr": "", "rc": 0},
    "__nginx_present": {"stat": {"exists": False}},
    "__nginx_read": {"content": ""},
    "__lab_machine_pip_config": {"stdout_lines": []},
    "__lab_machine_key": {"public_key": "k"},
}


class Scope:
    """The files of roles that are run together, and the variables that they have unless somebody says otherwise."""

    def __init__(self, roles: Collection[str], given: Mapping[str, Any], environment: str = "") -> None:
        find_plugins()
        self._loader = DataLoader()
        self._loader.set_basedir(str(ROOT))
        self._folders = [ROOT / "roles" / role for role in roles]
        self._environment = environment
        specs = [read_yaml("roles", role, "meta", "argument_specs.yml")["argument_specs"] for role in roles]
        self.options = {
            name: option for spec in specs for entry in spec.values() for name, option in entry["options"].items()
        }
        files = [folder / part / "main.yml" for folder in self._folders for part in ("defaults", "vars")]
        loaded = [self._load(file) for file in files if file.is_file()]
        self._variables = _KNOWN | {name: value for file in loaded for name, value in (file or {}).items()} | given

    def _load(self, path: Path) -> Any:
        return self._loader.load_from_file(str(path), trusted_as_template=True)

    def _templar(self, variables: Mapping[str, Any]) -> Templar:
        return Templar(loader=self._loader, variables=self._variables | variables)

    def uses(self, option: str, given: Any) -> dict[str, Any]:
        """What everything comes to that depends on `option`, if that is `given`, by where it stands."""
        dependent = self._dependent({option}, self._variables)
        found = {}
        for place, value in self._uses_in({"vars": {}, "environment": self._environment}, dependent, {option: given}):
            found[f"site.yml: {place}"] = value
        for folder in self._folders:
            for path in sorted(folder.rglob("*.j2")):
                if _mentions(path.read_text("utf-8"), dependent):
                    templar = self._templar({option: given, "ansible_managed": "managed"})
                    lookup = lookup_loader.get("ansible.builtin.template", loader=self._loader, templar=templar)
                    found[path.name] = lookup.run([str(path)], templar.available_variables)[0]
            for path in sorted([*folder.glob("tasks/*.yml"), *folder.glob("handlers/*.yml")]):
                for task in _tasks(self._load(path)):
                    for place, value in self._uses_in(task, dependent, {option: given}):
                        found[f"{path.relative_to(ROOT)}: {task.get('name')}: {place}"] = value
        return found

    def _uses_in(self, task: dict[str, Any], dependent: set[str], given: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        own = self._dependent(dependent, task["vars"])
        variables = task["vars"] | given
        for place, text in _texts(task):
            if not _mentions(text, own):
                continue
            if "loop" in task and not place.startswith("loop"):
                name = task.get("loop_control", {}).get("loop_var", "item")
                variables = variables | {name: self._templar(variables).template(task["loop"])[0]}
            yield place, self._templar(variables).template(trust_as_template(text))

    @staticmethod
    def _dependent(names: set[str], variables: Mapping[str, Any]) -> set[str]:
        """`names`, and those of `variables` that are made of them."""
        dependent, before = names, set()
        while dependent != before:
            before = dependent
            dependent = before | {name for name, value in variables.items() if _mentions(str(value), before)}
        return dependent


def _mentions(text: str, names: set[str]) -> bool:
    return re.search(rf"\b({'|'.join(map(re.escape, names))})\b", text) is not None


def _tasks(part: Any, inherited: Mapping[str, Any] = MappingProxyType({})) -> Iterator[dict[str, Any]]:
    """Every task, each with the variables of the blocks that it is in."""
    for task in part or ():
        variables = {**inherited, **task.get("vars", {})}
        yield {key: value for key, value in task.items() if key not in _BLOCKS} | {"vars": variables}
        for key in _BLOCKS:
            yield from _tasks(task.get(key), variables)


def _texts(part: Any, place: str = "", is_condition: bool = False) -> Iterator[tuple[str, str]]:
    """Every template in a part of a task, and where it stands. A condition is one without braces."""
    if isinstance(part, str):
        yield place, f"{{{{ {part} }}}}" if is_condition else part
    elif isinstance(part, dict):
        for key, value in part.items():
            if key not in ("name", "vars") or place:
                yield from _texts(value, f"{place}/{key}".lstrip("/"), key in _CONDITIONS)
    elif isinstance(part, list):
        for number, value in enumerate(part):
            yield from _texts(value, f"{place}/{number}", is_condition)


@functools.cache
def _scopes() -> tuple[Scope, Scope]:
    """site.yml's roles with what it hands to each, and the lab's."""
    loader = DataLoader()
    play = loader.load_from_file(str(ROOT / "site.yml"), trusted_as_template=True)[0]
    site = play["vars"] | {"preflight_proxy": "http://192.0.2.1:3128"}
    lab = [
        loader.load_from_file(str(path), trusted_as_template=True)
        for path in sorted((ROOT / "inventory/lab/group_vars").glob("*.yml"))
    ]
    lab.append({"lab_machine_machines": [_MACHINE], "__lab_machine": _MACHINE})
    return Scope(SITE_ROLES, site, play["environment"]), Scope(
        ["lab_machine"], {name: value for file in lab for name, value in file.items()}
    )


def _given() -> list:
    given = []
    for scope in _scopes():
        for name, option in scope.options.items():
            kind = f"list of {option['elements']}" if option.get("elements") in ("dict", "int") else option["type"]
            for value, texts in _VALUES.get(kind, ()):
                given.append(pytest.param(scope, name, value, texts, id=f"{name}={value}"))
    return given


@pytest.mark.parametrize(("scope", "name", "value", "texts"), _given())
def test_a_variable_means_the_same_as_text(scope: Scope, name: str, value: Any, texts: tuple[str, ...]) -> None:
    option = scope.options[name]
    expected = scope.uses(name, value)
    # Text is no list of dictionaries for the specs, so the run ends there.
    accepted = [
        text for text in texts if not ArgumentSpecValidator({name: option}).validate({name: text}).error_messages
    ]

    assert expected, "nothing uses it"
    assert accepted == ([] if option.get("elements") == "dict" else list(texts))
    for text in accepted:
        assert scope.uses(name, text) == expected, text
