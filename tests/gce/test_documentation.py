"""What is written of the modules, the filters, the role and the inventory is what they are."""

from __future__ import annotations

import inspect
import re
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.module_utils.gce_kinds import KINDS

from plugins.doc_fragments.gce import ModuleDocFragment
from plugins.filter.gce_resources import FilterModule
from plugins.modules import gce_resource, gce_resource_info
from tests.conftest import ROOT
from tests.roles.rendering import read_yaml

OPTIONS = read_yaml("roles", "gce_instance", "meta", "argument_specs.yml")["argument_specs"]["main"]["options"]
DEFAULTS = read_yaml("roles", "gce_instance", "defaults", "main.yml")
SETTINGS = ROOT / "inventory" / "gce" / "group_vars" / "all.yml"


class CaughtError(Exception):
    """Carries an argument spec out of a module."""


def argument_spec(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the module tells Ansible of its arguments."""

    def catch(argument_spec: dict[str, Any], **_: Any) -> None:
        raise CaughtError(argument_spec)

    monkeypatch.setattr(module, "AnsibleModule", catch)
    with pytest.raises(CaughtError) as caught:
        module.main()
    return caught.value.args[0]


def assert_described(spec: dict[str, Any], options: dict[str, Any]) -> None:
    assert spec.keys() == options.keys()
    for name, argument in spec.items():
        option = options[name]
        assert option["description"], name
        assert argument.get("type", "str") == option["type"], name
        assert argument.get("default") == option.get("default"), name
        # A project may come from the environment.
        assert argument.get("required", False) == option.get(
            "required", "fallback" in argument and name == "project"
        ), name
        if "options" in argument:
            assert_described(argument["options"], option["suboptions"])


@pytest.mark.parametrize("module", [gce_resource, gce_resource_info], ids=lambda module: module.__name__)
def test_a_module_takes_what_it_says(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    shared = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    assert_described(argument_spec(module, monkeypatch), {**documented, **shared})
    for text in (module.EXAMPLES, module.RETURN):
        assert yaml.safe_load(text)


def test_every_kind_is_documented() -> None:
    options = yaml.safe_load(gce_resource.DOCUMENTATION)["options"]["resources"]["suboptions"]
    assert set(options["kind"]["choices"]) == set(KINDS)


@pytest.mark.parametrize(("name", "function"), FilterModule().filters().items(), ids=FilterModule().filters())
def test_a_filter_takes_what_it_says(name: str, function: Any) -> None:
    document = read_yaml("plugins", "filter", f"{name}.yml")
    documented = document["DOCUMENTATION"]
    _, *parameters = inspect.signature(function).parameters
    assert documented["name"] == name
    assert documented["options"].keys() == {"_input", *parameters}
    assert documented.get("positional", "").split(", ") == (parameters or [""])
    assert f"| {name}" in document["EXAMPLES"]
    assert document["RETURN"]["_value"]["description"]


def test_the_filters_are_given_the_role_s_settings() -> None:
    settings = read_yaml("roles", "gce_instance", "vars", "main.yml")["_gce_instance_settings"]
    for name, value in settings.items():
        variable = "_gce_instance_mark" if name == "mark" else f"gce_instance_{name}"
        # `-e` gives strings, which are true in a condition of Python, and no numbers, lists or dictionaries.
        kind = "" if name == "mark" else OPTIONS[variable]["type"]
        filters = {
            "bool": " | bool",
            "int": " | int",
            "list": " | as_list | map('string') | unique",
            "dict": " | gce_texts(",
        }
        assert value.startswith(f"{{{{ {variable}{filters.get(kind, ' }}')}")
    # These are not Google's business.
    others = {"project", "known_hosts", "may_stop", "may_delete", "timeout"}
    assert {f"gce_instance_{name}" for name in settings.keys() - {"mark"} | others} == OPTIONS.keys()


def test_the_role_s_specs_equal_its_defaults() -> None:
    assert {name: option["default"] for name, option in OPTIONS.items() if "default" in option} == DEFAULTS


def test_what_has_no_default_is_required_and_given() -> None:
    required = {name for name, option in OPTIONS.items() if option.get("required")}
    assert required == OPTIONS.keys() - DEFAULTS.keys()
    given = read_yaml("playbooks", "gce.yml")[0]["vars"].keys() | yaml.safe_load(SETTINGS.read_text("utf-8")).keys()
    # Nobody else knows from where you log in.
    assert required - given == {"gce_instance_ssh_sources"}
    assert "# gce_instance_ssh_sources: " in SETTINGS.read_text("utf-8")


def test_the_inventory_shows_every_default() -> None:
    lines = re.findall(r"^# (gce_instance_[a-z_]+: .*)$", SETTINGS.read_text("utf-8"), re.MULTILINE)
    shown = yaml.safe_load("\n".join(lines))
    assert {name: shown.get(name) for name in DEFAULTS} == DEFAULTS


def comments(text: str) -> dict[str, str]:
    """What the comment above each setting says; a setting with its comment is a paragraph."""
    settings = {}
    for paragraph in text.removeprefix("---\n").split("\n\n"):
        *lines, last = paragraph.strip().splitlines()
        if setting := re.match(r"(?:# )?(gce_instance_\w+): ", last):
            settings[setting[1]] = " ".join(line.removeprefix("# ") for line in lines)
    return settings


def test_a_setting_is_described_in_the_same_words_everywhere() -> None:
    described = {
        name: re.sub(r"\b[CEOV]\((.*?)\)", r"\1", option["description"].strip()) for name, option in OPTIONS.items()
    }
    # These two are the inventory's own, in gcp_compute.yml.
    others = {"gce_instance_project", "gce_instance_deployment"}
    assert comments(SETTINGS.read_text("utf-8")) == {name: described[name] for name in OPTIONS.keys() - others}
