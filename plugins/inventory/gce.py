"""The machines of a deployment on Compute Engine, as hosts."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Constructable

DOCUMENTATION = r"""
name: gce
short_description: The machines of a deployment on Google Compute Engine
description:
  - Lists the instances of a project that carry the label C(barevision) with the deployment's name.
  - An API that can't be reached, a login that has expired and a project that doesn't exist are errors. An empty list
    means that there are no machines.
  - The file's name ends with C(gcp_compute.yml).
extends_documentation_fragment:
  - constructed
  - gce
options:
  plugin:
    description: The name of this plugin.
    required: true
    choices: [gce]
  deployment:
    description: The value of the label.
    type: str
    default: barevision
    env:
      - name: GCP_DEPLOYMENT
"""

EXAMPLES = r"""
plugin: gce
project: my-project
keyed_groups:
  - {key: gce_zone, prefix: zone}
"""

# Ansible adds this folder for modules, and not for plugins outside of a collection.
ansible.module_utils.__path__.append(str(Path(__file__).parents[1] / "module_utils"))
gce_api = importlib.import_module("ansible.module_utils.gce_api")


class InventoryModule(BaseInventoryPlugin, Constructable):
    """See DOCUMENTATION."""

    NAME = "gce"

    def verify_file(self, path: str) -> bool:
        """Whether the file is one for this plugin, by its name."""
        return super().verify_file(path) and path.endswith(("gcp_compute.yml", "gcp_compute.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Adds the machines, and the project and the deployment as variables of all."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        project, deployment = self.get_option("project"), self.get_option("deployment")
        if not project:
            raise AnsibleParserError("Which project? Say so in the environment variable GCP_PROJECT, or in this file.")
        if not gce_api.HAS_GOOGLE_AUTH:
            raise AnsibleParserError("google-auth is missing: install requirements.txt.")
        try:
            api = gce_api.Api(
                project,
                self.get_option("access_token"),
                self.get_option("service_account_file"),
                self.get_option("timeout"),
            )
            instances = list(api.find("instances", f'labels.barevision = "{deployment}"', everywhere=True))
        except gce_api.ApiError as error:
            raise AnsibleParserError(str(error)) from None
        inventory.set_variable("all", "gce_project", project)
        inventory.set_variable("all", "gce_deployment", deployment)
        # Ansible's own inventory_dir is not known to localhost.
        inventory.set_variable("all", "gce_inventory_dir", str(Path(path).resolve().parent))
        strict = self.get_option("strict")
        for instance in instances:
            name, variables = instance["name"], host_variables(instance, deployment)
            inventory.add_host(name)
            for variable, value in variables.items():
                inventory.set_variable(name, variable, value)
            self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
            self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
            self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)


def host_variables(instance: dict[str, Any], deployment: str) -> dict[str, Any]:
    """What is known of an instance; addresses are empty where it has none.

    `gce_is_numbered` tells the deployment's own machines from copies that somebody made of them in the console: those
    have their labels and description, and another name.
    """
    interface = (instance.get("networkInterfaces") or [{}])[0]
    access = (interface.get("accessConfigs") or [{}])[0]
    return {
        "gce_id": instance["id"],
        "gce_is_numbered": bool(re.fullmatch(rf"{re.escape(deployment)}-[1-9][0-9]*", instance["name"])),
        "gce_status": instance["status"],
        "gce_zone": instance["zone"].rpartition("/")[2],
        "gce_machine_type": instance["machineType"].rpartition("/")[2],
        "gce_labels": instance.get("labels", {}),
        "gce_internal_address": interface.get("networkIP", ""),
        "gce_external_address": access.get("natIP", ""),
    }
