#!/usr/bin/python
"""Loads rules of nftables without locking anybody out."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.whole_files import write_whole

DOCUMENTATION = r"""
module: firewall_rules
short_description: Loads rules of nftables without locking anybody out
description:
  - With O(state=tried), has nftables check the rules, has systemd bring back what is loaded after O(undo_after)
    seconds, and loads the rules.
  - With O(state=kept), stops systemd from doing so, and writes the rules to their file, which the machine loads when it
    boots. Refuses to on a connection that is older than the rules, which says nothing of new ones.
options:
  path:
    description: The file that the rules are kept in.
    type: path
    required: true
  rules:
    description:
      - The rules, as nftables reads them. They delete the table O(table) and make it anew, and touch no other.
    type: str
    required: true
  table:
    description: The table's name, of the family inet.
    type: str
    required: true
  undo_after:
    description: Seconds after which the rules are taken back unless they are kept by then.
    type: int
    default: 60
  state:
    description: What is to be done, in this order, with a new connection between the two.
    type: str
    choices: [tried, kept]
    required: true
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
author:
  - The Barevision contributors
"""

EXAMPLES = r"""
- name: Try the rules
  firewall_rules:
    path: /etc/barevision/firewall.nft
    rules: "{{ lookup('ansible.builtin.template', 'firewall.nft.j2') }}"
    table: barevision
    state: tried

- name: Connect anew
  ansible.builtin.meta: reset_connection

- name: Keep the rules
  firewall_rules:
    path: /etc/barevision/firewall.nft
    rules: "{{ lookup('ansible.builtin.template', 'firewall.nft.j2') }}"
    table: barevision
    state: kept
"""

RETURN = r"""
undone_after:
  description: Seconds until the rules are taken back; 0 if they are not.
  type: int
  returned: success
"""

_ARGUMENTS = {
    "path": {"type": "path", "required": True},
    "rules": {"type": "str", "required": True},
    "table": {"type": "str", "required": True},
    "undo_after": {"type": "int", "default": 60},
    "state": {"type": "str", "choices": ["tried", "kept"], "required": True},
}


class Rules:
    """A table, what is loaded of it, and the file that it is kept in.

    :param folder: which a boot empties, as it does what is loaded.
    """

    def __init__(self, module: AnsibleModule, folder: Path, processes: Path = Path("/proc")) -> None:
        self._module, self._processes = module, processes
        self._table, self._rules, self._path = (module.params[key] for key in ("table", "rules", "path"))
        self._undo = f"{self._table}-firewall-undo"
        self._folder, self._loaded, self._before = folder, folder / "loaded", folder / "before.nft"

    def are_kept(self) -> bool:
        """Whether the file has the rules."""
        try:
            return Path(self._path).read_text("utf-8") == self._rules
        except OSError:
            return False

    def are_loaded(self) -> bool:
        """Whether they were loaded since the machine booted, and the table is there."""
        try:
            digest = self._loaded.read_text("utf-8")
        except OSError:
            return False
        return digest == self._digest() and self._list() is not None

    def load(self) -> None:
        """Loads them, to be taken back."""
        self._run("nft", "--check", "--file", "-", data=self._rules)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        # The first line is for a table that is not there.
        self._before.write_text(
            f"table inet {self._table}\ndelete table inet {self._table}\n{self._list() or ''}", "utf-8"
        )
        # A timer of an earlier try would take these rules back.
        self._stop_undo()
        seconds = self._module.params["undo_after"]
        undo = f"nft --file {self._before} && rm --force {self._loaded}"
        self._run("systemd-run", f"--unit={self._undo}", f"--on-active={seconds}s", "--collect", "sh", "-c", undo)
        self._run("nft", "--file", "-", data=self._rules)
        self._loaded.write_text(self._digest(), "utf-8")

    def keep(self) -> None:
        """Has them stay."""
        if not self.are_loaded():
            seconds = self._module.params["undo_after"]
            self._module.fail_json(
                msg=f"the firewall's rules were taken back, because no new connection came within {seconds} seconds; "
                "what was loaded before is loaded again"
            )
        since = self._connected_since()
        if since is not None and since < self._loaded.stat().st_mtime:
            self._module.fail_json(
                msg="this connection is older than the firewall's rules, so it doesn't show that they let new ones in"
            )
        self._stop_undo()
        write_whole(Path(self._path), self._rules, 0o644, os.getuid(), os.getgid())

    def is_to_be_undone(self) -> bool:
        """Whether the rules that are loaded are taken back soon."""
        code, _, _ = self._module.run_command(["systemctl", "is-active", "--quiet", f"{self._undo}.timer"])
        return code == 0

    def _connected_since(self) -> float | None:
        """When the ssh session began in which this runs, in seconds since 1970; None if it runs in none."""
        number = os.getppid()
        while number > 1:
            name, fields = self._stat(number)
            if name.startswith("sshd"):
                boot = time.time() - float((self._processes / "uptime").read_text().split()[0])
                return boot + int(fields[19]) / os.sysconf("SC_CLK_TCK")
            number = int(fields[1])
        return None

    def _stat(self, number: int) -> tuple[str, list[str]]:
        """The name of a process, and what proc(5) has after it: its state, its parent and so on."""
        text = (self._processes / str(number) / "stat").read_text()
        return text[text.index("(") + 1 : text.rindex(")")], text.rpartition(")")[2].split()

    def _list(self) -> str | None:
        code, output, _ = self._module.run_command(["nft", "list", "table", "inet", self._table])
        return None if code else output

    def _digest(self) -> str:
        return hashlib.sha256(self._rules.encode()).hexdigest()

    def _stop_undo(self) -> None:
        # There may be none.
        self._module.run_command(["systemctl", "stop", f"{self._undo}.timer"])

    def _run(self, *command: str, data: str | None = None) -> None:
        self._module.run_command(list(command), check_rc=True, data=data)


def main() -> None:
    module = AnsibleModule(argument_spec=_ARGUMENTS, supports_check_mode=True)
    rules, seconds = Rules(module, Path("/run/barevision-firewall")), 0
    before = _read(module.params["path"])
    if module.params["state"] == "tried":
        changed = not rules.are_loaded()
        if changed and not module.check_mode:
            rules.load()
        if changed or rules.is_to_be_undone():
            seconds = module.params["undo_after"]
    else:
        changed = not rules.are_kept() or rules.is_to_be_undone()
        if changed and not module.check_mode:
            rules.keep()
    diff = {"before": before, "after": module.params["rules"]}
    module.exit_json(changed=changed, undone_after=seconds, diff=diff)


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except OSError:
        return ""


if __name__ == "__main__":
    main()
