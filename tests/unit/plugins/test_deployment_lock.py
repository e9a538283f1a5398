"""Who may change a machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from plugins.modules import deployment_lock

NOON = 1_800_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def lock(path: Path, by: str, process: int, now: float = NOON, **params: Any) -> dict[str, Any]:
    """What the run of `by` finds, whose process has that number on the computer `by` works at."""
    given = {"path": str(path), "by": by, "host": f"{by}s", "process": process, "running": [1], "silence": 900}
    return deployment_lock.run({**given, "state": "held", **params}, now)


def test_one_run_at_a_time(path: Path) -> None:
    assert lock(path, "ada", 7) == {"changed": True, "ended": "", "mark": "ada@adas:7"}
    assert lock(path, "ada", 7, NOON + 60) == {"changed": False, "ended": "", "mark": "ada@adas:7"}
    problem = lock(path, "bob", 7, NOON + 70)["problem"]
    assert "a run of ada on adas (process 7, since 2027-01-15 08:00:00 UTC) changes this machine" in problem
    assert "its lock ends at 2027-01-15 08:16:00 UTC" in problem
    assert not lock(path, "bob", 7, state="free")["changed"]
    assert lock(path, "ada", 7, state="free")["changed"]
    assert lock(path, "bob", 7)["changed"]


def test_what_a_run_left_behind_is_ended_with_its_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment_lock, "_END_SECONDS", 0.5)
    mark = lock(path, "ada", 7)["mark"]
    commands = (["sleep", "60"], ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"])
    with contextlib.ExitStack() as stack:
        left, stubborn, others = [
            stack.enter_context(subprocess.Popen(command, env={**os.environ, "DEPLOYMENT_RUN": run}))
            for command, run in zip([*commands, commands[0]], (mark, mark, f"{mark}1"), strict=True)
        ]
        stack.callback(others.kill)
        # Whose parent asks only afterwards would stay in the table of processes.
        waiting = [threading.Thread(target=process.wait) for process in (left, stubborn)]
        for thread in waiting:
            thread.start()
        assert lock(path, "ada", 8, running=[8])["ended"]
        for thread in waiting:
            thread.join()
        assert (left.returncode, others.poll()) == (-signal.SIGTERM, None)
        assert stubborn.returncode == -signal.SIGKILL


def test_a_run_that_ended_here_is_seen_at_once(path: Path) -> None:
    lock(path, "ada", 7)
    assert "problem" in lock(path, "ada", 8, running=[7, 8])
    assert "process 7" in lock(path, "ada", 8, running=[8])["ended"]


def test_a_run_from_elsewhere_has_ended_if_it_says_nothing_for_long(path: Path) -> None:
    lock(path, "ada", 7)
    assert "problem" in lock(path, "bob", 8, NOON + 900)
    assert "process 7" in lock(path, "bob", 8, NOON + 901)["ended"]
    # It renews its lock: it was only slow.
    assert "a run of bob" in lock(path, "ada", 7, NOON + 902)["problem"]


def test_of_many_at_once_one_has_it(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda number: lock(path, f"user{number}", number), range(8)))
    assert [result.get("changed") for result in results].count(True) == 1


@pytest.mark.parametrize("content", ["", "half{", "[]", '{"by": "ada"}'])
def test_a_lock_that_is_not_whole_is_nobodys(path: Path, content: str) -> None:
    path.write_text(content, "utf-8")
    assert lock(path, "bob", 7) == {"changed": True, "ended": "", "mark": "bob@bobs:7"}


def test_a_dry_run_takes_no_lock_and_respects_one(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(by: str, **given: Any) -> dict[str, Any]:
        given |= {"path": str(path), "by": by, "host": by, "process": 7, "running": [7]}
        with patch_module_args(given), pytest.raises(SystemExit):
            deployment_lock.main()
        return json.loads(capsys.readouterr().out)

    assert run("ada", _ansible_check_mode=True)["changed"]
    assert run("bob")["changed"]
    assert "a run of bob" in run("ada", _ansible_check_mode=True)["msg"]


def test_the_module_takes_what_it_documents() -> None:
    documented = yaml.safe_load(deployment_lock.DOCUMENTATION)["options"]
    assert all(option.pop("description") for option in documented.values())
    assert documented == deployment_lock._ARGUMENTS
    assert yaml.safe_load(deployment_lock.EXAMPLES)
    assert yaml.safe_load(deployment_lock.RETURN)
