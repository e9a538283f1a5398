#!/usr/bin/python
"""Resources of Compute Engine, found by a filter, and what a machine says of itself."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.gce_api import Api, ApiError
from ansible.module_utils.gce_kinds import KINDS
from ansible.module_utils.gce_module import ARGUMENTS, collection_path, connect

DOCUMENTATION = r"""
module: gce_resource_info
short_description: Finds resources of Google Compute Engine, or reads a machine's guest attributes
description:
  - Finds all resources of a kind that fulfil a filter, in all zones and regions. A list that Google could not complete
    is an error.
  - With O(guest_attributes), reads what a machine says of itself instead, its ssh host keys for example.
extends_documentation_fragment: gce
options:
  kind:
    description: The collection of the API, in its own spelling.
    type: str
    required: true
    choices: [addresses, disks, firewalls, instances, networks, images, snapshots]
  filter:
    description: A filter expression of the API, such as C(labels.barevision = "web").
    type: str
  name:
    description: Name of the instance to read guest attributes of.
    type: str
  zone:
    description: Zone of the instance to read guest attributes of.
    type: str
  region:
    description: Not used; there so that all modules of this kind take the same options.
    type: str
  guest_attributes:
    description: The path of the attributes, such as C(hostkeys/).
    type: str
attributes:
  check_mode:
    support: full
author:
  - The Barevision contributors
"""

EXAMPLES = r"""
- name: Find the disks of a deployment
  gce_resource_info:
    kind: disks
    filter: labels.barevision = "web"

- name: Read a machine's host keys
  gce_resource_info:
    kind: instances
    zone: us-central1-a
    name: web-1
    guest_attributes: hostkeys/
"""

RETURN = r"""
resources:
  description: What was found.
  type: list
  elements: dict
  returned: with O(filter)
guest_attributes:
  description: Keys and values. Empty where the machine has said nothing yet, or guest attributes are not enabled.
  type: dict
  returned: with O(guest_attributes)
  sample: {ssh-ed25519: AAAAC3...}
"""


def run(api: Api, params: dict[str, Any]) -> dict[str, Any]:
    """Reads what the module's parameters ask for."""
    kind = params["kind"]
    if params["guest_attributes"] is None:
        everywhere = KINDS[kind].scope != "global"
        return {"resources": list(api.find(kind, params["filter"], everywhere))}
    path = f"{collection_path(params)}/{params['name']}/getGuestAttributes"
    found = api.get(path, {"queryPath": params["guest_attributes"]}) or {}
    items = found.get("queryValue", {}).get("items", [])
    return {"guest_attributes": {item["key"]: item["value"] for item in items}}


def main() -> None:
    module = AnsibleModule(
        argument_spec={**ARGUMENTS, "filter": {}, "name": {}, "guest_attributes": {}},
        required_one_of=[("filter", "guest_attributes")],
        mutually_exclusive=[("filter", "guest_attributes")],
        required_by={"guest_attributes": ("name", "zone")},
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, **run(connect(module), module.params))
    except (ApiError, ValueError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
