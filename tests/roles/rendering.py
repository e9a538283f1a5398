"""Renders the roles' templates with Ansible's own templar and the variables that site.yml gives them."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.playbook import Playbook
from ansible.plugins.loader import filter_loader, init_plugin_loader, lookup_loader
from ansible.template import Templar, trust_as_template
from ansible.vars.manager import VariableManager

ROOT = Path(__file__).parents[2]
#: The roles of site.yml, in its order.
SITE_ROLES = ("preflight", "apt_packages", "hardening", "firewall", "tls", "miniconda", "app", "gunicorn", "nginx")
FACTS = {
    "architecture": "x86_64",
    "distribution": "Debian",
    "distribution_version": "12.5",
    "lo": {"ipv6": [{"address": "::1"}]},
}


def read_yaml(*parts: str) -> dict:
    """A YAML file of the repository; an empty dict where there is none."""
    path = ROOT.joinpath(*parts)
    return yaml.safe_load(path.read_text("utf-8")) if path.is_file() else {}


@functools.cache
def find_plugins() -> None:
    """Ansible wants it once, and only once, in a process."""
    init_plugin_loader([])
    filter_loader.add_directory(str(ROOT / "plugins" / "filter"))


class Site:
    """site.yml as one machine sees it.

    :param facts: what Ansible found out about the machine.
    :param inventory: what the user's inventory says about the machine.
    """

    def __init__(self, facts: Mapping[str, object] = FACTS, **inventory: object) -> None:
        find_plugins()
        loader = DataLoader()
        hosts = InventoryManager(loader=loader, sources=["vm,"])
        hosts.add_group("barevision")
        hosts.add_host("vm", "barevision")
        variables = VariableManager(loader=loader, inventory=hosts)
        host = hosts.get_host("vm")
        for name, value in inventory.items():
            host.set_variable(name, value)
        # A role is found where ansible.cfg says, beside site.yml.
        loader.set_basedir(str(ROOT))
        play = Playbook.load(str(ROOT / "site.yml"), variable_manager=variables, loader=loader).get_plays()[0]
        self._play = play
        found_out = {"ansible_facts": facts, "__app_commit": "0" * 40}
        self._variables = variables.get_vars(play=play, host=host) | found_out
        self._loader = loader

    @cached_property
    def _templar(self) -> Templar:
        return Templar(loader=self._loader, variables=self._variables)

    def environment(self) -> dict[str, str]:
        """What tasks have in their environment, beside their own."""
        return self._templar.template(self._play.environment)

    def value(self, name: str) -> object:
        """What the variable `name` comes to."""
        return self._templar.template(trust_as_template("{{ " + name + " }}"))

    def render(self, role: str, target: str) -> str:
        """The file that `role` writes to the path `target`, like "etc/nginx/...", on the machine."""
        path = ROOT / "roles" / role / "templates" / f"{target}.j2"
        lookup = lookup_loader.get("ansible.builtin.template", loader=self._loader, templar=self._templar)
        return lookup.run([str(path)], self._variables)[0]


def settings(text: str) -> Mapping[str, str]:
    """The lines NAME="value" of a systemd environment file."""
    pairs = (line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {name: value.strip('"') for name, value in pairs}


def unit_values(text: str, name: str) -> list[str]:
    """What a systemd unit sets for `name`, in order, with lines that a backslash continues as one."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [line.removeprefix(f"{name}=") for line in lines if line.startswith(f"{name}=")]


def environment() -> dict[str, str]:
    """This process's environment for an ansible-playbook of ours."""
    return os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"}
