#!/usr/bin/python
"""Waits until a systemd service is ready, and says why it isn't."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.readiness import ask_readiness

DOCUMENTATION = r"""
module: wait_for_ready
short_description: Waits until a systemd service is ready, and says why it isn't
description:
  - Asks a service for C(/readyz) until it answers. A request may wait in a socket of systemd's while the service
    starts.
  - Fails with the last lines of the service's journal as soon as it answers that it is not ready, has ended, or has
    been started again several times.
options:
  name:
    description: The unit, such as C(barevision.service).
    type: str
    required: true
  socket:
    description: The Unix socket on which the service answers.
    type: path
    required: true
  timeout:
    description: Seconds within which the service has to be ready.
    type: int
    required: true
attributes:
  check_mode:
    support: full
author:
  - The Barevision contributors
"""

EXAMPLES = r"""
- name: Wait until the service is ready
  wait_for_ready:
    name: barevision.service
    socket: /run/barevision/gunicorn.sock
    timeout: 120
"""

RETURN = r"""
detail:
  description: Why the service is ready, in its own words.
  type: str
  returned: success
"""

_ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "socket": {"type": "path", "required": True},
    "timeout": {"type": "int", "required": True},
}

_ASK_SECONDS = 10
_PAUSE_SECONDS = 0.5
# A service that systemd starts again and again waits for a second each time.
_MOST_RESTARTS = 3
_JOURNAL_LINES = 40


def run(module: AnsibleModule) -> dict[str, Any]:
    """What RETURN describes, for the parameters that DOCUMENTATION describes; or `problem`, in words."""
    name, path, timeout = (module.params[key] for key in ("name", "socket", "timeout"))
    end, restarts = time.monotonic() + timeout, _state(module, name)["NRestarts"]
    # First the request, which may have to start the service.
    while (left := end - time.monotonic()) > 0:
        status, detail = ask_readiness(path, min(left, _ASK_SECONDS))
        if status == 200:
            return {"detail": detail}
        if status is not None:
            return {"problem": f"/readyz answers {status}: {detail}"}
        state = _state(module, name)
        if state["ActiveState"] in ("failed", "inactive"):
            return {"problem": f"it has ended ({state['Result']})"}
        if int(state["NRestarts"]) - int(restarts) >= _MOST_RESTARTS:
            return {"problem": f"it has ended {_MOST_RESTARTS} times, and systemd starts it again and again"}
        time.sleep(_PAUSE_SECONDS)
    return {"problem": f"it does not answer within {timeout} seconds"}


def _state(module: AnsibleModule, name: str) -> dict[str, str]:
    command = ["systemctl", "show", "--property=ActiveState,NRestarts,Result", name]
    _, output, _ = module.run_command(command, check_rc=True)
    return dict(line.split("=", 1) for line in output.splitlines())


def main() -> None:
    module = AnsibleModule(argument_spec=_ARGUMENTS, supports_check_mode=True)
    result = run(module)
    if problem := result.get("problem"):
        name = module.params["name"]
        _, journal, _ = module.run_command(
            ["journalctl", f"--unit={name}", f"--lines={_JOURNAL_LINES}", "--no-pager", "--output=cat"]
        )
        module.fail_json(
            msg=f"{name} is not ready: {problem}\nIts last lines (more with journalctl -u {name}):\n{journal}"
        )
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
