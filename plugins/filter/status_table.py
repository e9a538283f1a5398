"""What runs where, as a table for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

DOCUMENTATION = r"""
name: status_table
short_description: Makes a table of what runs on machines
description:
  - Takes what M(deployment_status_info) returned for each machine, and returns a text with a line for each.
options:
  _input:
    description: The results by the machine's name.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Say what runs where
  ansible.builtin.debug:
    msg: "{{ {'vm-1': app_status} | status_table }}"
"""

RETURN = r"""
_value:
  description: The table.
  type: str
"""

_COLUMNS = ("machine", "release", "since", "by", "answers", "to look at")
# Below it, a release and its environment may no longer have room.
_LEAST_FREE_PERCENT = 10
# Whoever renews certificates does so a month before their end.
_LEAST_CERTIFICATE_DAYS = 14


def status_table(machines: dict[str, dict[str, Any]]) -> str:
    """What RETURN describes."""
    rows = [_COLUMNS, *(_row(name, status) for name, status in machines.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _row(name: str, status: dict[str, Any]) -> tuple[str, ...]:
    by = f"{status['by']} on {status['host']}" if status["by"] else ""
    answers = "rightly" if status["ready"] else f"no: {status['detail']}"
    return name, status["release"][:12] or "none", status["since"], by, answers, "; ".join(_concerns(status))


def _concerns(status: dict[str, Any]) -> list[str]:
    """What wants attention, in words."""
    concerns = []
    if status["maintenance"]:
        concerns.append("out of service by maintenance.yml")
    if status["disk_free_percent"] < _LEAST_FREE_PERCENT:
        concerns.append(f"{status['disk_free_percent']} % of the disk is free")
    if status["certificate_days"] is not None and status["certificate_days"] < _LEAST_CERTIFICATE_DAYS:
        concerns.append(f"the certificate ends in {status['certificate_days']} days")
    if status["needs_reboot"]:
        concerns.append("an upgrade wants a reboot")
    if status["pending_upgrades"]:
        concerns.append(f"{status['pending_upgrades']} upgrades")
    return concerns


class FilterModule:
    """See DOCUMENTATION."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"status_table": status_table}
