#!/usr/bin/python
"""The keys of which a request needs one."""

from __future__ import annotations

import grp
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.whole_files import write_whole

DOCUMENTATION = r"""
module: api_keys
short_description: Makes, lists and revokes the keys that the service lets in
description:
  - Keeps a file with the name and the hash of each key. The service reads it again when it has changed.
  - The file has a key of the machine's own, with which it asks itself. Only root and the service may read it.
  - The new file takes the old one's place when all of it is on the disk.
options:
  path:
    description: The file.
    type: path
    required: true
  group:
    description: The group of the service's user, which may read the file.
    type: str
    required: true
  name:
    description: What to call the key, or which one to revoke. Needed with O(state=created) and O(state=revoked).
    type: str
  sha256:
    description: The SHA-256 of the key, in hexadecimal. Needed with O(state=created).
    type: str
  state:
    description: What to do; V(present) only makes the file if it is not there.
    type: str
    choices: [listed, present, created, revoked]
    default: listed
attributes:
  check_mode:
    support: full
author:
  - The Barevision contributors
"""

EXAMPLES = r"""
- name: Let whoever has the key in
  api_keys:
    path: /etc/barevision/keys.json
    group: barevision
    name: camera
    sha256: "{{ key | hash('sha256') }}"
    state: created
"""

RETURN = r"""
keys:
  description: The name of each key, and since when there is one.
  type: list
  elements: dict
  returned: success
  sample: [{"name": "camera", "created": "2026-11-28T10:00:00Z"}]
"""

_ARGUMENTS = {
    "path": {"type": "path", "required": True},
    "group": {"type": "str", "required": True},
    "name": {"type": "str"},
    "sha256": {"type": "str"},
    "state": {"type": "str", "choices": ["listed", "present", "created", "revoked"], "default": "listed"},
}
_MODE = 0o640


def read(path: Path) -> tuple[str, list[dict[str, str]]]:
    """The machine's own key, and what the file says of each other one; "" and nothing if it is not there.

    :raises ValueError: it is none of ours.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        parts = ("name", "sha256", "created")
        return str(content["own"]), [{part: str(key[part]) for part in parts} for key in content["keys"]]
    except FileNotFoundError:
        return "", []
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is not the file of keys that it should be: {error}") from None


def changed_keys(keys: list[dict[str, str]], params: dict[str, Any], now: float) -> list[dict[str, str]]:
    """The keys as `params` want them.

    :raises ValueError: there is such a key already, or none to revoke.
    """
    state, name = params["state"], params["name"]
    others = [key for key in keys if key["name"] != name]
    if state in ("listed", "present"):
        return keys
    if state == "revoked":
        if others == keys:
            raise ValueError(f"there is no key {name}; there are {', '.join(key['name'] for key in keys) or 'none'}")
        return others
    if others != keys:
        raise ValueError(f"there is a key {name} already; revoke it, or take another name")
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    return [*keys, {"name": name, "sha256": params["sha256"], "created": created}]


def main() -> None:
    module = AnsibleModule(
        argument_spec=_ARGUMENTS,
        required_if=[("state", "created", ["name", "sha256"]), ("state", "revoked", ["name"])],
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    try:
        own, before = read(path)
        after = changed_keys(before, module.params, time.time())
    except ValueError as error:
        module.fail_json(msg=str(error))
    changed = after != before or (not own and module.params["state"] == "present")
    if changed and not module.check_mode:
        content = json.dumps({"own": own or secrets.token_urlsafe(), "keys": after}, indent=1)
        write_whole(path, f"{content}\n", _MODE, os.getuid(), grp.getgrnam(module.params["group"]).gr_gid)
    listed = [{"name": key["name"], "created": key["created"]} for key in after]
    module.exit_json(changed=changed, keys=listed)


if __name__ == "__main__":
    main()
