"""The module lab_machine, with a program in place of systemd-nspawn. tests/e2e has machines that really boot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plugins.modules import lab_machine
from tests.support.lab import NEEDS_LAB
from tests.support.waiting import wait_until

# The module leaves a process in the background, which Python finds unusual.
pytestmark = [NEEDS_LAB, pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")]

# What run.j2 does, with a signal that ends it. Its first argument is the number of signals that it takes.
PROGRAM = f"""#!{sys.executable}
import fcntl, os, pathlib, signal, socket, sys
home = pathlib.Path(__file__).parent
lock = (home / "lock").open("w")
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
(home / "pid").write_text(str(os.getpid()))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("booting")
address = os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1)
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"STATUS=up\\nREADY=1", address)
for _ in range(SIGNALS):
    signal.sigwait([signal.SIGTERM])
"""


class ModuleError(Exception):
    """What the module fails with."""


Module = Callable[..., dict[str, Any]]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A machine's folder. A machine that still runs in the end is ended."""
    home = tmp_path / "machines" / "web-1"
    home.mkdir(parents=True)
    write_program(home)
    yield home
    if lab_machine.Background(SimpleNamespace(), home).is_running():
        os.kill(int((home / "pid").read_text()), signal.SIGKILL)


def write_program(home: Path, text: str = PROGRAM, signals: int = 1) -> None:
    (home / "run").write_text(text.replace("SIGNALS", str(signals)))
    (home / "run").chmod(0o755)


@pytest.fixture
def module(home: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    """Runs lab_machine, as a task does on a computer without systemd."""
    monkeypatch.setattr(lab_machine, "_SYSTEMD", home / "no systemd")

    def fail(msg: str) -> None:
        raise ModuleError(msg)

    def run(check_mode: bool = False, **parameters: Any) -> dict[str, Any]:
        params = {"name": "bvlab9-web-1", "path": str(home), "files": [], "authorities": None, "state": "started"}
        return lab_machine.run(SimpleNamespace(params=params | parameters, check_mode=check_mode, fail_json=fail))

    return run


def process(home: Path) -> int:
    return int((home / "pid").read_text())


def is_alive(process: int) -> bool:
    """Whether a process runs. One that has ended and is still a child of this one has no command line."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        return False


def described(content: str, **attributes: Any) -> dict[str, Any]:
    return {"path": "private/root/etc/motd", "content": content, "mode": "0644", "owner": 0, **attributes}


def test_machine_is_started_stays_and_is_stopped(home: Path, module: Module) -> None:
    assert module()["changed"]
    first = process(home)
    assert not module()["changed"]
    assert process(home) == first

    assert module(state="stopped")["changed"]
    # The lock is free a moment before the process is gone.
    wait_until(lambda: not is_alive(first), "the process has ended")
    assert not module(state="stopped")["changed"]

    assert module()["changed"]
    assert process(home) != first


def test_check_mode_says_what_a_run_does_and_does_nothing(home: Path, module: Module) -> None:
    for parameters in ({}, {"files": [described("hello\n")]}, {"state": "stopped"}):
        planned = module(check_mode=True, **parameters)
        assert planned["changed"]
        assert module(check_mode=True, **parameters) == planned
        assert module(**parameters) == planned
        assert not module(check_mode=True, **parameters)["changed"]


def test_check_mode_works_before_the_folder_is_made(home: Path, module: Module) -> None:
    missing = str(home.with_name("web-2"))

    planned = module(check_mode=True, path=missing, files=[described("hello\n")])

    assert planned["changed"]
    assert planned["diff"][0]["after"] == "hello\n"
    assert not Path(missing).exists()


@pytest.mark.parametrize("attributes", [{"content": "bye\n"}, {"mode": "0600"}, {"owner": 1000}])
def test_machine_starts_again_with_a_file_that_changed(home: Path, module: Module, attributes: dict) -> None:
    module(files=[described("hello\n")])
    first = process(home)

    changed = module(files=[described("hello\n") | attributes])

    assert changed["changed"]
    assert len(changed["diff"]) == 2
    assert process(home) != first
    path = home / "private/root/etc/motd"
    expected = described("hello\n") | attributes
    assert path.read_text() == expected["content"]
    assert path.stat().st_mode & 0o7777 == int(expected["mode"], 8)
    assert (path.stat().st_uid, path.stat().st_gid) == (expected["owner"], expected["owner"])
    assert not module(files=[expected])["changed"]


def test_link_is_replaced_and_not_followed(home: Path, module: Module, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("hello\n")
    path = home / "private/root/etc/motd"
    path.parent.mkdir(parents=True)
    path.symlink_to(elsewhere)

    assert module(files=[described("hello\n")])["changed"]

    assert not path.is_symlink()
    assert path.read_text() == elsewhere.read_text() == "hello\n"


def test_interrupted_change_is_continued(home: Path, module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    module(files=[described("hello\n")])
    with monkeypatch.context() as interruption:
        interruption.setattr(lab_machine.File, "write", lambda file: pytest.fail("interrupted"))
        with pytest.raises(pytest.fail.Exception, match="interrupted"):
            module(files=[described("bye\n")])

    assert module(files=[described("bye\n")])["changed"]

    assert (home / "private/root/etc/motd").read_text() == "bye\n"
    assert is_alive(process(home))
    assert not module(files=[described("bye\n")])["changed"]


def test_machine_that_was_killed_is_started_again(home: Path, module: Module) -> None:
    module()
    first = process(home)
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)

    assert module()["changed"]
    assert process(home) != first


def test_machine_that_does_not_boot_says_why(home: Path, module: Module) -> None:
    write_program(home, "#!/bin/sh\necho No such bridge. >&2\nexit 1\n")

    with pytest.raises(ModuleError, match="web-1 can't be booted: No such bridge"):
        module()


def test_second_signal_ends_what_does_not_shut_down(
    home: Path, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab_machine, "_PATIENCE", (0.3, 10))
    write_program(home, signals=2)
    module()
    first = process(home)

    assert module(state="stopped")["changed"]
    # The lock is free a moment before the process is gone.
    wait_until(lambda: not is_alive(first), "the process has ended")


def test_machine_that_never_stops_is_named(home: Path, module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab_machine, "_PATIENCE", (0.1, 0.1))
    write_program(home, signals=9)
    module()

    with pytest.raises(ModuleError, match=rf"web-1 did not stop .* `kill -KILL -- -{process(home)}` ends it"):
        module(state="stopped")


def test_authorities_are_trusted_before_the_start(home: Path, module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell in place of update-ca-certificates looks at what is there when it runs."""
    authorities = home.parent / "authorities"
    (authorities / "ours").mkdir(parents=True)
    (authorities / "ours" / "root.crt").write_bytes(b"caf\xe9\n")
    root = home / "private" / "root"
    trusted: list[bytes] = []

    def run_command(command: list[str], check_rc: bool, environ_update: dict[str, str]) -> None:
        assert command == ["chroot", str(root), "update-ca-certificates"]
        trusted.append((root / "usr/local/share/ca-certificates/root.crt").read_bytes())

    tools = {"run_command": run_command, "get_bin_path": lambda program, required: program}
    params = {"name": "a", "path": str(home), "files": [], "authorities": str(authorities), "state": "started"}
    assert lab_machine.run(SimpleNamespace(params=params, check_mode=False, **tools))["changed"]
    assert trusted == [b"caf\xe9\n"]
    assert not lab_machine.run(SimpleNamespace(params=params, check_mode=False, **tools))["changed"]


def test_host_key_is_returned_as_known_hosts_has_it(home: Path, module: Module) -> None:
    assert "host_key" not in module()
    folder = home / "private" / "root" / "etc" / "ssh"
    folder.mkdir(parents=True)
    generate = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "root@here", "-f", folder / "ssh_host_ed25519_key"]
    subprocess.run(generate, check=True)

    kind, key = module()["host_key"].split(" ")

    assert f"{kind} {key} root@here\n" == (folder / "ssh_host_ed25519_key.pub").read_text()
