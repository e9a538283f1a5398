#!/usr/bin/python
"""Resources of Compute Engine, exactly as they are described."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.gce_api import Api, ApiError
from ansible.module_utils.gce_kinds import (
    KINDS,
    RUNNING,
    STOPPED,
    TRANSITIONAL,
    Call,
    Difference,
    RefusedError,
    Resource,
    complete,
    creation,
    differences,
    plan,
)
from ansible.module_utils.gce_module import ARGUMENTS, RESOURCE_ARGUMENTS, collection_path, connect

DOCUMENTATION = r"""
module: gce_resource
short_description: Makes resources of Google Compute Engine exactly what is described, or removes them
description:
  - Compares each resource that there is with its description, field by field, both ways. A rule that got
    narrower is narrowed, a label that is no longer listed goes.
  - What differs is changed with the calls that Google has for it, fingerprints included. What Google can't change in
    place is refused with the reason, before anything else of the resource is changed.
  - Every operation is awaited, and the resource is read again afterwards. If it still isn't what was described, the
    module fails.
  - Check mode changes nothing and returns the same difference and the same calls. It fails where a real run would be
    refused.
  - Takes a list, and goes through it in its order with one login. When one fails, the ones before it are made, and the
    result says so.
extends_documentation_fragment: gce
options:
  resources:
    description: The resources.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description: The collection of the API, in its own spelling.
        type: str
        required: true
        choices: [addresses, disks, firewalls, instances, networks, images, snapshots]
      name:
        description: Name of the resource.
        type: str
        required: true
      zone:
        description: Zone of a disk or an instance.
        type: str
      region:
        description: Region of an address.
        type: str
      state:
        description:
          - V(running), for instances, is V(present), and started if it isn't running (a spot instance that was taken
            away, say).
          - V(absent) removes it, with the disks that are marked to go with an instance.
        type: str
        choices: [present, running, absent]
        default: present
      body:
        description:
          - The resource, as the API's insert method has it, without its name. Parts of addresses of resources may be
            left out as the API allows (C(global/networks/web)).
          - A field that Google has a default for and that isn't given is set to it, as labels and tags are to none.
          - An empty list of a firewall rule counts as not given, as it does at Google. A rule without sources lets
            everybody in.
          - A disk is made with its own call, not with the instance, so that it can be changed.
        type: dict
        default: {}
  may_stop:
    description:
      - Whether an instance may be stopped, and started again, for changes that can't be made while it runs (machine
        type, minimum CPU platform, service account, Shielded VM). Without it they are refused. A suspended one loses
        what it had in memory.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
author:
  - The Barevision contributors
"""

EXAMPLES = r"""
- name: Let the web in, and make a boot disk
  gce_resource:
    project: my-project
    resources:
      - kind: firewalls
        name: web-http
        body:
          network: global/networks/web
          sourceRanges: ["0.0.0.0/0"]
          targetTags: [http-server]
          allowed: [{IPProtocol: tcp, ports: ["80"]}]
      - kind: disks
        zone: us-central1-a
        name: web-1
        body:
          type: zones/us-central1-a/diskTypes/pd-balanced
          sizeGb: 20
          sourceImage: projects/debian-cloud/global/images/family/debian-13
"""

RETURN = r"""
resources:
  description:
    - The resources as they are now, in the order of the list, empty where one is absent. In check mode, as they are or
      would be made.
  type: list
  elements: dict
  returned: always
calls:
  description: The calls that were made, or would be made in check mode.
  type: list
  elements: str
  returned: always
  sample: ["POST instances/web-1/setTags"]
"""


class Target:
    """One of the resources, and what was done to it."""

    def __init__(self, api: Api, entry: dict[str, Any], check_mode: bool) -> None:
        self.api = api
        self.kind = KINDS[entry["kind"]]
        self.kind_name = entry["kind"]
        self.collection = collection_path(entry)
        self.name = entry["name"]
        self.check_mode = check_mode
        self.calls: list[str] = []
        self.differences: list[dict[str, Any]] = []

    @property
    def path(self) -> str:
        return f"{self.collection}/{self.name}"

    def read(self) -> Resource | None:
        """The resource as it is, once it is neither on its way up nor down; None where there is none."""
        deadline = time.monotonic() + self.api.timeout
        while (live := self.api.get(self.path)) and live.get("status") in TRANSITIONAL:
            if time.monotonic() > deadline:
                raise ApiError(f"{self.path} is still {live['status']} after {self.api.timeout:g} seconds: run again.")
            time.sleep(1)
        return live

    def read_back(self, spec: Resource) -> Resource:
        """Reads the resource after its change.

        :raises ApiError: where it isn't what was described.
        """
        live = self.read() or {}
        if left := self.compare(spec, live):
            fields = "; ".join(f"{d.field} is {d.live}, not {d.spec}" for d in left)
            raise ApiError(f"{self.path}: Google accepted the change and did not make it: {fields}")
        return live

    def compare(self, spec: Resource, live: Resource) -> list[Difference]:
        """What differs; the family of the image of a disk, where the description names a family and not an image."""
        source_project, _, family = spec.get("sourceImage", "").partition("/global/images/family/")
        if family and "sourceImage" in live:
            image = self.api.get(live["sourceImage"][live["sourceImage"].index("projects/") :])
            owner = live["sourceImage"].partition("/global/images/")[0].rpartition("projects/")[2]
            is_same = owner == source_project.rpartition("projects/")[2] and image and image.get("family") == family
            # An image that Google has removed since tells nothing of its family any more, and counts as one of this.
            if image is None or is_same:
                live = {**live, "sourceImage": spec["sourceImage"]}
            else:
                family_of_live = f"projects/{owner}/global/images/family/{image.get('family', '(none)')}"
                live = {**live, "sourceImage": family_of_live}
        return differences(spec, live, self.api.project)

    def differ(self, before: Resource, after: Resource) -> None:
        """Notes a difference, for --diff."""
        if before != after:
            headers = {"before_header": self.path, "after_header": self.path}
            self.differences.append({**headers, "before": before, "after": after})

    def insert(self, resource: Resource) -> None:
        """Makes it, unless in check mode."""
        self.calls.append(f"POST {self.kind_name} ({self.name})")
        if not self.check_mode:
            self.api.change("POST", self.collection, resource, {})

    def call(self, call: Call) -> None:
        """Makes a call, unless in check mode."""
        self.calls.append(f"{call.method} {self.kind_name}/{self.name}/{call.path}".rstrip("/"))
        if not self.check_mode:
            self.api.change(call.method, f"{self.path}/{call.path}".rstrip("/"), call.body, call.query)


def remove(target: Target) -> Resource:
    """Removes the resource, if there is one."""
    if target.read() is not None:
        target.differ({"state": "present"}, {"state": "absent"})
        target.call(Call("DELETE", ""))
    return {}


def make(target: Target, body: Resource) -> Resource:
    """Makes a resource that there isn't yet."""
    spec = {"name": target.name, **complete(target.kind, body)}
    target.differ({}, body)
    target.insert(creation(target.kind, spec))
    if target.check_mode:
        return spec
    live = target.read() or {}
    for call in plan(target.kind, spec, live, target.compare(spec, live))[0]:
        target.call(call)
    return target.read_back(spec)


def change(target: Target, body: Resource, live: Resource, running: bool, may_stop: bool) -> Resource:
    """Makes the resource what is described.

    :raises RefusedError: before anything was changed.
    """
    spec = {"name": target.name, **complete(target.kind, body)}
    differing = target.compare(spec, live)
    anytime, stopped = plan(target.kind, spec, live, differing)
    is_running = live.get("status") == RUNNING
    is_to_be_stopped = bool(stopped) and live.get("status") != STOPPED
    if is_to_be_stopped and not may_stop:
        fields = ", ".join(f"{d.field} ({d.live} to {d.spec})" for d in differing)
        raise RefusedError(
            f"{fields}: the instance has to be stopped for that, which takes a minute or two. Allow it with may_stop "
            "(-e gce_instance_may_stop=true)."
        )

    is_to_be_started = running and not is_running
    if is_to_be_started:
        differing = [*differing, Difference("status", live["status"], RUNNING)]
    target.differ({d.field: d.live for d in differing}, {d.field: d.spec for d in differing})
    for call in anytime:
        target.call(call)
    if is_to_be_stopped:
        target.call(Call("POST", "stop"))
    try:
        for call in stopped:
            target.call(call)
    finally:
        # An instance that was running runs again also where a change failed.
        if stopped and is_running:
            target.call(Call("POST", "start"))
    if is_to_be_started:
        is_suspended = live["status"] == "SUSPENDED" and not stopped
        target.call(Call("POST", "resume" if is_suspended else "start"))
    return target.read_back(spec) if target.calls and not target.check_mode else live


def converge(target: Target, entry: dict[str, Any], may_stop: bool) -> Resource:
    """Makes one resource what its entry in the list says, and returns it."""
    if entry["state"] == "absent":
        return remove(target)
    live = target.read()
    if live is None:
        return make(target, entry["body"])
    try:
        return change(target, entry["body"], live, entry["state"] == "running", may_stop)
    except RefusedError as refusal:
        raise RefusedError(f"{target.path}: {refusal}") from None


def run(module: AnsibleModule, api: Api) -> dict[str, Any]:
    """Goes through the list. A result with `msg` is that of a failure.

    :raises ValueError: where a zone or a region is missing, before anything was changed.
    """
    result: dict[str, Any] = {"changed": False, "resources": [], "calls": [], "diff": []}
    entries = module.params["resources"]
    for target, entry in [(Target(api, entry, module.check_mode), entry) for entry in entries]:
        try:
            result["resources"].append(converge(target, entry, module.params["may_stop"]))
        except (ApiError, RefusedError) as error:
            result["msg"] = str(error)
        result["calls"] += target.calls
        result["diff"] += target.differences
        result["changed"] = bool(result["calls"])
        if "msg" in result:
            break
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENTS,
            "resources": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    **RESOURCE_ARGUMENTS,
                    "name": {"required": True},
                    "state": {"choices": ["present", "running", "absent"], "default": "present"},
                    "body": {"type": "dict", "default": {}},
                },
            },
            "may_stop": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        result = run(module, connect(module))
    except (ApiError, ValueError) as error:
        module.fail_json(msg=str(error))
    if "msg" in result:
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
