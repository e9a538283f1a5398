#!/usr/bin/python
"""What runs on a machine, since when, and how well."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.readiness import ask_readiness

DOCUMENTATION = r"""
module: deployment_status_info
short_description: Reads what runs on a machine, since when, and how well
description:
  - Reads the current release and the history of releases, and asks the service whether it is ready.
  - Looks after what ends a machine's service sooner or later, as a full disk does. Changes nothing.
options:
  root:
    description: The folder with C(releases), the link C(current) and the history C(releases.log).
    type: path
    required: true
  socket:
    description: The Unix socket on which the service answers.
    type: path
    required: true
  maintenance:
    description: The file that is there while the machine is out of service.
    type: path
    required: true
  certificate:
    description: The file of the certificate that NGINX has, if it has one.
    type: path
    required: true
attributes:
  check_mode:
    support: full
author:
  - The Barevision contributors
"""

EXAMPLES = r"""
- name: Read what runs here
  deployment_status_info:
    root: /opt/barevision
    socket: /run/barevision/gunicorn.sock
    maintenance: /etc/nginx/barevision.maintenance.json
    certificate: /etc/barevision/tls/current/fullchain.pem
  register: __status
"""

RETURN = r"""
release:
  description: The commit of the current release. Empty where there is none.
  type: str
  returned: always
since:
  description: When it came into service, as in the history; else when the link to it was made.
  type: str
  returned: always
  sample: 2026-11-28T10:00:00Z
by:
  description: Who brought it into service. Empty if the history doesn't say.
  type: str
  returned: always
host:
  description: The computer from which they did. Empty if the history doesn't say.
  type: str
  returned: always
ready:
  description: Whether the service answers rightly.
  type: bool
  returned: always
detail:
  description: Why, in its own words.
  type: str
  returned: always
maintenance:
  description: Whether the machine is out of service.
  type: bool
  returned: always
good_releases:
  description: The commits that can be gone back to.
  type: list
  elements: str
  returned: always
failed_releases:
  description: The commits that did not answer rightly.
  type: list
  elements: str
  returned: always
disk_free_percent:
  description: How much of the file system with the releases is free.
  type: int
  returned: always
certificate_days:
  description: For how many days the certificate is valid; null if there is none.
  type: int
  returned: always
pending_upgrades:
  description: How many packages apt would upgrade, by the lists that it has.
  type: int
  returned: always
needs_reboot:
  description: Whether an upgrade wants a reboot.
  type: bool
  returned: always
"""

_ARGUMENTS = {
    "root": {"type": "path", "required": True},
    "socket": {"type": "path", "required": True},
    "maintenance": {"type": "path", "required": True},
    "certificate": {"type": "path", "required": True},
}
_ASK_SECONDS = 5
_DAY = 86400
_UPGRADES = ["apt-get", "--simulate", "--quiet", "--option", "Debug::NoLocking=true", "dist-upgrade"]


def run(module: AnsibleModule) -> dict[str, Any]:
    """What RETURN describes, for the parameters that DOCUMENTATION describes."""
    root, socket = Path(module.params["root"]), module.params["socket"]
    current = root / "current"
    release = current.resolve().name if current.is_symlink() else ""
    history = [line for line in _read_history(root / "releases.log") if line.get("release") == release]
    came = next((line for line in reversed(history) if line.get("event") != "failed"), {})
    status, detail = ask_readiness(socket, _ASK_SECONDS) if Path(socket).exists() else (None, "")
    disk = shutil.disk_usage(root if root.exists() else "/")
    _, upgrades, _ = module.run_command(_UPGRADES, environ_update={"LC_ALL": "C"})
    return {
        "release": release,
        "since": came.get("time") or (_time_in_words(current.lstat().st_mtime) if release else ""),
        "by": came.get("by", ""),
        "host": came.get("host", ""),
        "ready": status == 200,
        "detail": detail or ("" if status == 200 else "it does not answer"),
        "maintenance": Path(module.params["maintenance"]).exists(),
        "good_releases": _releases_with(root, ".machine", but=_releases_with(root, ".failed")),
        "failed_releases": _releases_with(root, ".failed"),
        "disk_free_percent": round(100 * disk.free / disk.total),
        "certificate_days": _certificate_days(module, module.params["certificate"]),
        "pending_upgrades": len(re.findall(r"^Inst ", upgrades, re.MULTILINE)),
        "needs_reboot": Path("/run/reboot-required").exists(),
    }


def _read_history(path: Path) -> list[dict[str, Any]]:
    """The lines of the history that can be read, oldest first."""
    lines = []
    try:
        text = path.read_text("utf-8")
    except OSError:
        return []
    for line in text.splitlines():
        try:
            lines.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            continue
    return lines


def _certificate_days(module: AnsibleModule, path: str) -> int | None:
    if not Path(path).exists():
        return None
    _, output, _ = module.run_command(["openssl", "x509", "-noout", "-enddate", "-in", path], check_rc=True)
    end = ssl.cert_time_to_seconds(output.strip().partition("=")[2])
    return int((end - time.time()) // _DAY)


def _releases_with(root: Path, name: str, but: list[str] = ()) -> list[str]:
    """The releases that have a file of this name, but for those named, in the order in which it was written."""
    marks = sorted(root.glob(f"releases/*/{name}"), key=os.path.getmtime)
    return [mark.parent.name for mark in marks if mark.parent.name not in but]


def _time_in_words(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def main() -> None:
    module = AnsibleModule(argument_spec=_ARGUMENTS, supports_check_mode=True)
    module.exit_json(changed=False, **run(module))


if __name__ == "__main__":
    main()
