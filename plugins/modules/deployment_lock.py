#!/usr/bin/python
"""Lets one run at a time change a machine."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: deployment_lock
short_description: Lets one run at a time change a machine
description:
  - Writes down who changes a machine, and fails if another run does so already.
  - The lock of a run that has ended is taken over. On the computer that both were started from, that is seen at once.
    From elsewhere, a run counts as ended if it has not renewed its lock for O(silence) seconds.
  - A run's tasks go on here when its computer has gone. Those that have RV(mark) in their environment, as
    C(DEPLOYMENT_RUN), are ended before the lock is taken over.
  - A reboot frees the lock, for it ends what a run does on the machine.
options:
  path:
    description: The lock's file.
    type: path
    default: /run/barevision.lock
  by:
    description: Whose run it is.
    type: str
    required: true
  host:
    description: The computer that it was started on.
    type: str
    required: true
  process:
    description: The number of its process there.
    type: int
    required: true
  running:
    description: The numbers of all processes there.
    type: list
    elements: int
    default: []
  silence:
    description: Seconds without a word of it after which a run that was started elsewhere counts as ended.
    type: int
    default: 3600
  state:
    description: V(held) takes or renews the lock; V(free) gives it back if this run holds it.
    type: str
    choices: [held, free]
    default: held
attributes:
  check_mode:
    support: full
author:
  - The Barevision contributors
"""

EXAMPLES = r"""
- name: Lock the machine
  deployment_lock:
    by: ada
    host: laptop
    process: 4711
    running: [1, 2, 4711]

- name: Free the machine
  deployment_lock:
    by: ada
    host: laptop
    process: 4711
    state: free
"""

RETURN = r"""
ended:
  description: Whose lock was taken over, in words. Empty if nobody's was.
  type: str
  returned: success
mark:
  description: What the run's tasks should have in their environment, as C(DEPLOYMENT_RUN).
  type: str
  returned: success
"""

_ARGUMENTS = {
    "path": {"type": "path", "default": "/run/barevision.lock"},
    "by": {"type": "str", "required": True},
    "host": {"type": "str", "required": True},
    "process": {"type": "int", "required": True},
    "running": {"type": "list", "elements": "int", "default": []},
    "silence": {"type": "int", "default": 3600},
    "state": {"type": "str", "choices": ["held", "free"], "default": "held"},
}
_WHO = ("by", "host", "process")
_VARIABLE = "DEPLOYMENT_RUN"
# A task that is told to end has so long for it.
_END_SECONDS = 10.0
_LOOK_SECONDS = 0.1


def run(params: dict[str, Any], now: float, check_mode: bool = False) -> dict[str, Any]:
    """What RETURN describes, and whether the lock changed hands; or `problem`, in words.

    :param now: seconds since 1970.
    """
    me = {key: params[key] for key in _WHO}
    mark = _mark(me)
    path = Path(params["path"])
    if check_mode and not path.exists():
        path = Path(os.devnull)
    with path.open("r" if check_mode else "a+", encoding="utf-8") as file:
        # Of two that come at once, one after the other.
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        holder = _read(file.read())
        is_mine = holder is not None and all(holder[key] == me[key] for key in _WHO)
        if params["state"] == "free":
            if is_mine and not check_mode:
                file.truncate(0)
            return {"changed": is_mine, "ended": "", "mark": mark}
        if holder and not is_mine and not _has_ended(holder, params, now):
            end = _time_in_words(holder["renewed"] + params["silence"])
            return {
                "problem": f"{_in_words(holder)} changes this machine. Wait for it; should it have ended without a "
                f"word, its lock ends at {end}"
            }
        if not check_mode:
            if holder and not is_mine:
                end_processes(_mark(holder))
            file.truncate(0)
            file.write(json.dumps({**me, "since": holder["since"] if is_mine else now, "renewed": now}))
        return {"changed": not is_mine, "ended": _in_words(holder) if holder and not is_mine else "", "mark": mark}


def end_processes(mark: str) -> None:
    """Ends all processes that have `mark` in their environment: they are told to, and killed if that doesn't help."""
    end = time.monotonic() + _END_SECONDS
    while processes := _processes(mark):
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM if time.monotonic() < end else signal.SIGKILL)
        time.sleep(_LOOK_SECONDS)


def _processes(mark: str) -> list[int]:
    wanted, found = f"{_VARIABLE}={mark}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def _mark(who: dict[str, Any]) -> str:
    return f"{who['by']}@{who['host']}:{who['process']}"


def _read(text: str) -> dict[str, Any] | None:
    """Who holds the lock; None if nobody does."""
    try:
        holder = json.loads(text)
        return {**{key: holder[key] for key in _WHO}, **{key: float(holder[key]) for key in ("since", "renewed")}}
    except (ValueError, TypeError, KeyError):
        return None


def _has_ended(holder: dict[str, Any], params: dict[str, Any], now: float) -> bool:
    if holder["host"] == params["host"]:
        return holder["process"] not in params["running"]
    return now - holder["renewed"] > params["silence"]


def _in_words(holder: dict[str, Any]) -> str:
    run = f"process {holder['process']}, since {_time_in_words(holder['since'])}"
    return f"a run of {holder['by']} on {holder['host']} ({run})"


def _time_in_words(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))


def main() -> None:
    module = AnsibleModule(argument_spec=_ARGUMENTS, supports_check_mode=True)
    result = run(module.params, time.time(), module.check_mode)
    if problem := result.pop("problem", None):
        module.fail_json(msg=problem)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
