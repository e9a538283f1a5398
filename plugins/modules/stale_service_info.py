#!/usr/bin/python
"""Whether a systemd service is the one that its files describe, and answers."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.readiness import is_ready

DOCUMENTATION = r"""
module: stale_service_info
short_description: Reads whether a systemd service is the one that its files describe, and answers
description:
  - Compares the time at which a unit was started, or last reloaded, with the times at which paths were last changed,
    their owner and mode included. Asks a service that is newer than all of them whether it is ready.
  - A handler that is notified by the task that writes a file restarts the service in the same run. This module is for
    the run after one that ended between the two.
options:
  name:
    description: The unit, such as C(nginx.service) or C(barevision.socket).
    type: str
    required: true
  paths:
    description:
      - What the service reads. A link is compared itself, not what it points to, and a folder without what is in it.
      - A path that does not exist is left out.
    type: list
    elements: path
    required: true
  since:
    description: V(reload) if a reload makes the service read the paths again, V(start) if only a start does.
    type: str
    choices: [start, reload]
    default: start
  socket:
    description: The Unix socket on which the service answers C(/readyz). Without it, the service is not asked.
    type: path
  ready_timeout:
    description: Seconds within which the service has to answer. One that still starts answers when it is at work.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
author:
  - The Barevision contributors
"""

EXAMPLES = r"""
- name: Read what changed since NGINX was last reloaded
  stale_service_info:
    name: nginx.service
    paths: [/etc/nginx/nginx.conf, /etc/nginx/sites-enabled]
    since: reload
  register: __nginx_service
  changed_when: __nginx_service.newer | length > 0
  notify: Reload NGINX
"""

RETURN = r"""
exists:
  description: Whether systemd knows the unit.
  type: bool
  returned: success
active:
  description: Whether the unit is active. One that is still starting, or starts again and again, is not.
  type: bool
  returned: success
newer:
  description: Those of the paths that changed after the unit was started or reloaded; none if it is not active.
  type: list
  elements: str
  returned: success
  sample: [/etc/nginx/sites-enabled]
ready:
  description: Whether the service answered at O(socket). One that is not active or older than a path is not asked.
  type: bool
  returned: O(socket) is set
"""

# The first is when systemd began to start the unit, which may read a path long before it is ready; the second is also
# set when a reload ends.
_TIMESTAMPS = {"start": "InactiveExitTimestamp", "reload": "StateChangeTimestamp"}


def run(module: AnsibleModule) -> dict[str, Any]:
    """What RETURN describes, for the parameters that DOCUMENTATION describes."""
    timestamp = _TIMESTAMPS[module.params["since"]]
    properties = f"--property=LoadState,ActiveState,{timestamp}"
    command = ["systemctl", "show", "--timestamp=us+utc", properties, module.params["name"]]
    _, output, _ = module.run_command(command, check_rc=True, environ_update={"LC_ALL": "C"})
    unit = dict(line.split("=", 1) for line in output.splitlines())
    is_active = unit["ActiveState"] in ("active", "reloading")
    newer = newer_paths(module.params["paths"], parse_timestamp(unit[timestamp])) if is_active else []
    result = {"exists": unit["LoadState"] != "not-found", "active": is_active, "newer": newer}
    if path := module.params["socket"]:
        # Nobody may connect to the socket of a service that is not active: systemd would start it.
        result["ready"] = is_active and not newer and is_ready(path, module.params["ready_timeout"])
    return result


def parse_timestamp(text: str) -> datetime:
    """The time that `systemctl --timestamp=us+utc` prints like 'Wed 2025-11-26 20:35:01.123456 UTC'."""
    _, day, time, _ = text.split()
    return datetime.fromisoformat(f"{day}T{time}+00:00")


def newer_paths(paths: list[str], since: datetime) -> list[str]:
    """Those of `paths` that exist and changed after `since`."""
    existing = [path for path in paths if os.path.lexists(path)]
    return [path for path in existing if datetime.fromtimestamp(os.lstat(path).st_ctime, since.tzinfo) > since]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "paths": {"type": "list", "elements": "path", "required": True},
            "since": {"type": "str", "choices": list(_TIMESTAMPS), "default": "start"},
            "socket": {"type": "path"},
            "ready_timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    result = run(module)
    # With --diff, a task that reports a change for it says why.
    reasons = [f"{path} is newer" for path in result["newer"]]
    if not result["active"]:
        reasons = ["it is not active"]
    elif not reasons and not result.get("ready", True):
        reasons = ["it is not ready"]
    diff = {"before": "", "after": "".join(f"{reason}\n" for reason in reasons)}
    module.exit_json(changed=False, diff=diff, **result)


if __name__ == "__main__":
    main()
