#!/usr/bin/python
"""One resource of Compute Engine, exactly as it is described."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.gce_api import Api, ApiError
from ansible.module_utils.gce_kinds import (
    KINDS,
    RUNNING,
    TRANSITIONAL,
    Call,
    Difference,
    RefusedError,
    Resource,
    complete,
    differences,
    plan,
)
from ansible.module_utils.gce_module import ARGUMENTS, collection_path, connect

DOCUMENTATION = r"""
module: gce_resource
short_description: Makes a resource of Google Compute Engine exactly what is described, or removes it
description:
  - Compares the resource that there is with the one that is wanted, field by field, both ways. A rule that got narrower
    is narrowed, a label that is no longer listed goes.
  - What differs is changed with the calls that Google has for it, fingerprints included. What Google can't change in
    place is refused with the reason, before anything else of the resource is changed.
  - Every operation is awaited, and the resource is read again afterwards. If it still isn't what was wanted, the module
    fails.
  - Check mode changes nothing and returns the same difference and the same calls. It fails where a real run would be
    refused.
extends_documentation_fragment: gce
options:
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
      - V(running), for instances, is V(present), and started if it isn't running (a spot instance that was taken away,
        say).
      - V(absent) removes it, with the disks that are marked to go with an instance.
    type: str
    choices: [present, running, absent]
    default: present
  body:
    description:
      - The resource, as the API's insert method has it, without its name. Parts of addresses of resources may be left
        out as the API allows (C(global/networks/web)).
      - A field that Google has a default for and that isn't given is set to it, as labels and tags are to none.
      - A disk is made with its own call, not with the instance, so that it can be changed.
    type: dict
    default: {}
  may_stop:
    description:
      - Whether an instance may be stopped, and started again, for changes that can't be made while it runs (machine
        type, service account, Shielded VM). Without it they are refused.
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
- name: Let the web in
  gce_resource:
    project: my-project
    kind: firewalls
    name: web-http
    body:
      network: global/networks/web
      sourceRanges: ["0.0.0.0/0"]
      targetTags: [http-server]
      allowed: [{IPProtocol: tcp, ports: ["80"]}]

- name: Make a boot disk
  gce_resource:
    kind: disks
    zone: us-central1-a
    name: web-1
    body:
      type: zones/us-central1-a/diskTypes/pd-balanced
      sizeGb: 20
      sourceImage: projects/debian-cloud/global/images/family/debian-12
"""

RETURN = r"""
resource:
  description: The resource as it is now; in check mode, as it is or would be made. Empty if it is absent.
  type: dict
  returned: always
calls:
  description: The calls that were made, or would be made in check mode.
  type: list
  elements: str
  returned: always
  sample: ["POST instances/web-1/setTags"]
"""


class Target:
    """The resource that a module call is about, and what was done to it."""

    def __init__(self, api: Api, params: dict[str, Any], check_mode: bool) -> None:
        self.api = api
        self.kind = KINDS[params["kind"]]
        self.kind_name = params["kind"]
        self.collection = collection_path(params)
        self.name = params["name"]
        self.check_mode = check_mode
        self.calls: list[str] = []

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

    def insert(self, resource: Resource) -> None:
        """Makes it, unless in check mode."""
        self._send("POST", self.collection, f"{self.kind_name} ({self.name})", resource, {})

    def call(self, call: Call) -> None:
        """Makes a call, unless in check mode."""
        path, shown = (f"{start}/{call.path}".rstrip("/") for start in (self.path, f"{self.kind_name}/{self.name}"))
        self._send(call.method, path, shown, call.body, call.query)

    def _send(self, method: str, path: str, shown: str, body: Resource | None, query: dict[str, str]) -> None:
        self.calls.append(f"{method} {shown}")
        if not self.check_mode:
            self.api.change(method, path, body, query)


def remove(target: Target) -> dict[str, Any]:
    """Removes the resource, if there is one."""
    live = target.read()
    if live is None:
        return {"changed": False, "resource": {}}
    target.call(Call("DELETE", ""))
    return {"changed": True, "resource": {}, "diff": _diff(target, {"state": "present"}, {"state": "absent"})}


def make(target: Target, body: Resource) -> dict[str, Any]:
    """Makes a resource that there isn't yet."""
    wanted = {"name": target.name, **body}
    target.insert(wanted)
    live = wanted if target.check_mode else _read_as(target, {**complete(target.kind, body), "name": target.name})
    return {"changed": True, "resource": live, "diff": _diff(target, {}, body)}


def change(target: Target, body: Resource, live: Resource, running: bool, may_stop: bool) -> dict[str, Any]:
    """Makes the resource what is wanted.

    :raises RefusedError: before anything was changed.
    """
    wanted = {"name": target.name, **complete(target.kind, body)}
    found = differences(wanted, _with_family(target.api, wanted, live), target.api.project)
    anytime, stopped = plan(target.kind, wanted, live, found)
    is_running = live.get("status") == RUNNING
    if stopped and is_running and not may_stop:
        fields = ", ".join(f"{d.field} ({d.live} to {d.wanted})" for d in found)
        raise RefusedError(
            f"{fields}: the instance has to be stopped for that, which takes a minute or two. Allow it with may_stop."
        )

    status = [Difference("status", live["status"], RUNNING)] if running and not is_running else []
    if stopped and is_running:
        _change_stopped(target, [*anytime, Call("POST", "stop")], stopped)
    else:
        for call in (*anytime, *stopped):
            target.call(call)
        if status:
            target.call(Call("POST", "resume" if live["status"] == "SUSPENDED" else "start"))
    if target.calls and not target.check_mode:
        live = _read_as(target, wanted)
    differing = [*found, *status]
    diff = _diff(target, {d.field: d.live for d in differing}, {d.field: d.wanted for d in differing})
    return {"changed": bool(target.calls), "resource": live, "diff": diff}


def _change_stopped(target: Target, before: list[Call], calls: list[Call]) -> None:
    """Stops the instance, changes it and starts it again, also where a change fails."""
    for call in before:
        target.call(call)
    try:
        for call in calls:
            target.call(call)
    finally:
        target.call(Call("POST", "start"))


def _with_family(api: Api, wanted: Resource, live: Resource) -> Resource:
    """`live` with the family of its image in place of the image, if that is what is wanted.

    A disk remembers the image that its family had at the time. An image that Google has removed since tells nothing any
    more, and counts as what is wanted.
    """
    project_of_images, _, family = wanted.get("sourceImage", "").partition("/global/images/family/")
    if not family or "sourceImage" not in live:
        return live
    image = api.get(live["sourceImage"][live["sourceImage"].index("projects/") :])
    if image is None:
        return {**live, "sourceImage": wanted["sourceImage"]}
    owner = live["sourceImage"].partition("/global/images/")[0].rpartition("projects/")[2]
    found = f"projects/{owner}/global/images/family/{image.get('family', '(none)')}"
    same = owner == project_of_images.rpartition("projects/")[2] and image.get("family") == family
    return {**live, "sourceImage": wanted["sourceImage"] if same else found}


def _read_as(target: Target, wanted: Resource) -> Resource:
    """Reads the resource back.

    :raises ApiError: where it isn't what was wanted.
    """
    live = target.read() or {}
    left = differences(wanted, _with_family(target.api, wanted, live), target.api.project)
    if left:
        fields = "; ".join(f"{d.field} is {d.live}, not {d.wanted}" for d in left)
        raise ApiError(f"{target.path}: Google accepted the change and did not make it: {fields}")
    return live


def _diff(target: Target, before: Resource, after: Resource) -> dict[str, Any]:
    headers = {"before_header": target.path, "after_header": target.path}
    return {**headers, "before": before, "after": after}


def run(module: AnsibleModule, api: Api) -> dict[str, Any]:
    """Does what the module's parameters say."""
    params = module.params
    target = Target(api, params, module.check_mode)
    if params["state"] == "absent":
        result = remove(target)
    elif live := target.read():
        try:
            result = change(target, params["body"], live, params["state"] == "running", params["may_stop"])
        except RefusedError as refusal:
            raise RefusedError(f"{target.path}: {refusal}") from None
    else:
        result = make(target, params["body"])
    return {**result, "calls": target.calls}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENTS,
            "name": {"required": True},
            "state": {"choices": ["present", "running", "absent"], "default": "present"},
            "body": {"type": "dict", "default": {}},
            "may_stop": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module, connect(module)))
    except (ApiError, RefusedError, ValueError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
