#!/usr/bin/python
"""A machine of a lab: a folder with a root file system, and what keeps it running."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import stat
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: lab_machine
short_description: Starts or stops a machine of a lab, with its files as described
description:
  - A machine is a folder. Its root file system is in C(private/root), and its program C(run) boots that with
    systemd-nspawn and ends when the machine has powered off.
  - Where systemd runs this computer, it runs C(run) as a transient unit. Elsewhere the module starts C(run) in the
    background, with its output in C(console.log), and C(run) has to keep the file C(lock) locked for as long as it runs
    and its process id in the file C(pid).
  - The module waits until C(run) tells over C(NOTIFY_SOCKET) that the root file system boots, and fails where it ends
    before that.
  - When a file differs, the machine is stopped before the file is written and started after it, so that an interrupted
    run never leaves a machine running without its new files.
  - Needs root.
options:
  name:
    description: Name of the machine among all labs of this computer, and of its unit.
    type: str
    required: true
  path:
    description: Folder of the machine.
    type: path
    required: true
  files:
    description:
      - Files of the folder, each one exactly as described. The module writes them, since M(ansible.builtin.template)
        takes half a second for each file of each machine, also when nothing has changed.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path in the folder.
        type: str
        required: true
      content:
        description: Content of the file.
        type: str
        required: true
      mode:
        description: Permissions, as an octal number.
        type: str
        default: "0644"
      owner:
        description: Number of the user and the group that own the file.
        type: int
        default: 0
  authorities:
    description:
      - Folder with certificates of authorities, as files C(*.crt), which the machine is to trust as well. The machine
        keeps those that are no longer there.
    type: path
  state:
    description: Whether the machine runs.
    type: str
    choices: [started, stopped]
    default: started
attributes:
  check_mode:
    support: full
    details: The machine's folder does not have to exist.
  diff_mode:
    support: full
author:
  - The Barevision contributors
"""

EXAMPLES = r"""
- name: Start a machine that knows this computer's authorities
  lab_machine:
    name: bvlab0-lab-1
    path: /var/lib/barevision-lab/machines/lab-1
    files:
      - path: private/root/etc/resolv.conf
        content: |
          nameserver 192.0.2.53
    authorities: /usr/local/share/ca-certificates

- name: Stop it
  lab_machine:
    name: bvlab0-lab-1
    path: /var/lib/barevision-lab/machines/lab-1
    state: stopped
"""

RETURN = r"""
host_key:
  description: Type and public key of the machine's ssh server, as known_hosts has them.
  type: str
  returned: when the machine has been made
  sample: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI...
"""

_SYSTEMD = Path("/run/systemd/system")
# Seconds for an orderly shutdown, and then for one that is not.
_PATIENCE = (60, 10)


@dataclass(frozen=True)
class File:
    """A file of the machine, as it has to be."""

    path: Path
    content: bytes
    mode: int = 0o644
    owner: int = 0

    def difference(self) -> dict[str, str] | None:
        """What is different, for --diff; None where nothing is."""
        before, content = "no file", b""
        try:
            status = self.path.lstat()
            before = f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid}"
            content = self.path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        except FileNotFoundError:
            pass
        after = f"{stat.filemode(stat.S_IFREG | self.mode)} {self.owner}:{self.owner}"
        if (before, content) == (after, self.content):
            return None
        return {
            "before_header": f"{self.path} ({before})",
            "before": content.decode(errors="replace"),
            "after_header": f"{self.path} ({after})",
            "after": self.content.decode(errors="replace"),
        }

    def write(self) -> None:
        """Writes it all at once, also in place of a link."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(f"{self.path.name}.new")
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        new.write_bytes(self.content)
        os.chown(new, self.owner, self.owner)
        new.chmod(self.mode)
        new.replace(self.path)


class Unit:
    """Runs a machine as a transient unit of this computer's systemd."""

    def __init__(self, module: AnsibleModule, name: str, path: Path) -> None:
        self.module = module
        self.unit = f"{name}.service"
        self.path = path

    def is_running(self) -> bool:
        show = ["systemctl", "show", "--property=ActiveState", "--value", self.unit]
        return self.module.run_command(show, check_rc=True)[1].strip() not in ("inactive", "failed")

    def start(self) -> None:
        properties = [
            "Type=notify",
            "Delegate=yes",
            "KillMode=mixed",
            f"TimeoutStopSec={_PATIENCE[0]}",
            # nspawn's status after a reboot of the machine, as in systemd's own systemd-nspawn@.service.
            "RestartForceExitStatus=133",
            "SuccessExitStatus=133",
            "DevicePolicy=closed",
            "DeviceAllow=char-pts rw",
            "DeviceAllow=/dev/net/tun rwm",
        ]
        options = [f"--unit={self.unit}", f"--description=Lab machine {self.path.name}", "--slice=machine.slice"]
        options += [f"--property={line}" for line in properties]
        self.module.run_command(
            ["systemd-run", "--quiet", "--collect", *options, str(self.path / "run")], check_rc=True
        )

    def stop(self) -> None:
        self.module.run_command(["systemctl", "stop", self.unit], check_rc=True)


class Background:
    """Runs a machine as a process in the background, on a computer without systemd.

    The lock says that the machine runs: unlike a process id, it can't be mistaken for another process's.
    """

    def __init__(self, module: AnsibleModule, path: Path) -> None:
        self.module = module
        self.path = path

    def is_running(self) -> bool:
        try:
            with (self.path / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def start(self) -> None:
        log = self.path / "console.log"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices, log.open("wb") as console:
            # The kernel picks an abstract address, which is free and never too long. Its leading zero is written as @.
            notices.bind("")
            address = notices.getsockname()
            process = subprocess.Popen(
                # At the machine's end nspawn empties a folder in /run, and refuses to where that is on a disk. In a
                # mount namespace of its own the program can mount a /run that goes when the machine goes.
                ["unshare", "--mount", self.path / "run"],
                env={**os.environ, "NOTIFY_SOCKET": f"@{address[1:].decode()}"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
            notices.settimeout(0.1)
            while process.poll() is None:
                with suppress(TimeoutError):
                    if b"READY=1" in notices.recv(4096).split(b"\n"):
                        return
        self.module.fail_json(msg=f"{self.path.name} can't be booted: {log.read_text(errors='replace').strip()}")

    def stop(self) -> None:
        process = int((self.path / "pid").read_text())
        # nspawn takes the first signal as a request to shut the machine down, and ends it at the second.
        for patience in _PATIENCE:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline:
                if not self.is_running():
                    return
                time.sleep(0.1)
        self.module.fail_json(
            msg=f"{self.path.name} did not stop in {sum(_PATIENCE)} seconds. "
            f"{self.path}/console.log may say why, and `kill -KILL -- -{process}` ends it."
        )


def run(module: AnsibleModule) -> dict[str, Any]:
    """Changes the machine, unless in check mode, and returns the module's result."""
    path = Path(module.params["path"])
    root = path / "private" / "root"
    machine = Unit(module, module.params["name"], path) if _SYSTEMD.is_dir() else Background(module, path)

    files = [
        File(path / file["path"], file["content"].encode(), int(file["mode"], 8), file["owner"])
        for file in module.params["files"]
    ]
    if module.params["authorities"]:
        folder = root / "usr" / "local" / "share" / "ca-certificates"
        certificates = sorted(Path(module.params["authorities"]).rglob("*.crt"))
        files += [File(folder / certificate.name, certificate.read_bytes()) for certificate in certificates]
    differences = {file: difference for file in files if (difference := file.difference())}

    was_running = machine.is_running()
    is_started = module.params["state"] == "started"
    stops = was_running and bool(differences or not is_started)
    starts = is_started and bool(differences or not was_running)
    if not module.check_mode:
        if stops:
            machine.stop()
        for file in differences:
            file.write()
        if starts and module.params["authorities"]:
            # At every start, since the run that wrote a certificate may have been interrupted before this.
            trust = [module.get_bin_path("chroot", required=True), str(root), "update-ca-certificates"]
            module.run_command(trust, check_rc=True, environ_update={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        if starts:
            machine.start()

    state = {"before": f"{'started' if was_running else 'stopped'}\n", "after": f"{module.params['state']}\n"}
    result = {"changed": stops or starts or bool(differences), "diff": [*differences.values(), state]}
    host_key = root / "etc" / "ssh" / "ssh_host_ed25519_key.pub"
    if host_key.exists():
        result["host_key"] = " ".join(host_key.read_text("ascii").split()[:2])
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"required": True},
            "path": {"type": "path", "required": True},
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"required": True},
                    "content": {"required": True},
                    "mode": {"default": "0644"},
                    "owner": {"type": "int", "default": 0},
                },
            },
            "authorities": {"type": "path"},
            "state": {"choices": ["started", "stopped"], "default": "started"},
        },
        supports_check_mode=True,
    )
    module.exit_json(**run(module))


if __name__ == "__main__":
    main()
