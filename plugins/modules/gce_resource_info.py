#!/usr/bin/python
"""Resources of Compute Engine, found by a filter, and what a machine says of itself."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.gce_api import Api, ApiError
from ansible.module_utils.gce_kinds import KINDS
from ansible.module_utils.gce_module import ARGUMENTS, connect

DOCUMENTATION = r"""
module: gce_resource_info
short_description: Finds resources of Google Compute Engine, or reads a machine's guest attributes
description:
  - Finds all resources of some kinds that fulfil a filter, in all zones and regions. A list that Google could not
    complete is an error.
  - With O(guest_attributes), reads what a machine says of itself instead, its ssh host keys for example. A machine that
    has said nothing yet is waited for, as long as O(timeout) says.
extends_documentation_fragment: gce
options:
  kinds:
    description: Collections of the API, in its own spelling (addresses, disks, firewalls, instances, networks, ...).
    type: list
    elements: str
  filter:
    description: A filter expression of the API, such as C(labels.barevision = "web"). Without one, all are found.
    type: str
    default: ""
  guest_attributes:
    description: The machine to read guest attributes of.
    type: dict
    suboptions:
      name:
        description: Name of the instance.
        type: str
        required: true
      zone:
        description: Zone of the instance.
        type: str
        required: true
      path:
        description: The path of the attributes, such as C(hostkeys/).
        type: str
        required: true
attributes:
  check_mode:
    support: full
author:
  - The Barevision contributors
"""

EXAMPLES = r"""
- name: Find the machines and disks of a deployment
  gce_resource_info:
    kinds: [instances, disks]
    filter: labels.barevision = "web"

- name: Read a machine's host keys
  gce_resource_info:
    guest_attributes: {zone: us-central1-a, name: web-1, path: hostkeys/}
"""

RETURN = r"""
resources:
  description: Lists of what was found, by kind.
  type: dict
  returned: with O(kinds)
guest_attributes:
  description: Keys and values. Empty where the machine said nothing in time, or guest attributes are not enabled.
  type: dict
  returned: with O(guest_attributes)
  sample: {ssh-ed25519: AAAAC3...}
"""


def run(api: Api, params: dict[str, Any]) -> dict[str, Any]:
    """Reads what the module's parameters ask for."""
    if params["kinds"] is not None:
        return {
            "resources": {
                kind: list(api.find(kind, params["filter"], everywhere=KINDS[kind].scope != "global"))
                for kind in params["kinds"]
            }
        }
    machine = params["guest_attributes"]
    path = f"zones/{machine['zone']}/instances/{machine['name']}/getGuestAttributes"
    deadline = time.monotonic() + api.timeout
    while True:
        answer = api.get(path, {"queryPath": machine["path"]}) or {}
        items = answer.get("queryValue", {}).get("items", [])
        if items or time.monotonic() > deadline:
            return {"guest_attributes": {item["key"]: item.get("value", "") for item in items}}
        time.sleep(1)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENTS,
            "kinds": {"type": "list", "elements": "str", "choices": list(KINDS)},
            "filter": {"default": ""},
            "guest_attributes": {
                "type": "dict",
                "options": {name: {"required": True} for name in ("name", "zone", "path")},
            },
        },
        required_one_of=[("kinds", "guest_attributes")],
        mutually_exclusive=[("kinds", "guest_attributes")],
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, **run(connect(module), module.params))
    except ApiError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
