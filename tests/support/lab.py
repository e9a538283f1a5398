"""Labs for the tests that need real machines, made by the playbooks that users run.

Nothing here is a stand-in: a lab is made of `inventory/lab`'s own group variables, on a bridge, a
subnet and folders of its own, so that a user's lab on the same computer is left alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
FORWARDING_BEFORE = Path("/run/barevision-lab.ip_forward")

#: Of site.yml: one way to run a network. Measuring all ways takes a machine a quarter of a minute.
FIXED_PLAN = {"app_engine": "onnxruntime", "app_precision": "f32", "app_threads": 1}

# Marks tests that need a lab: they are skipped where none can be made.
NEEDS_LAB = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="the lab's machines need Linux and root"
)

# The environment variable with the folder in which labs are noted for as long as they are up. It is locked for as long
# as the tests run, so that a later run can tell the notes of a killed one.
_NOTES = "BAREVISION_TEST_LABS"
_NOTES_PREFIX = "barevision-labs-"
_TABLE_PREFIX = "barevision-lab-"
_RECAP_LINE = re.compile(r"^(?P<host>\S+)\s+: (?P<counts>ok=\d+ .*)$", re.MULTILINE)


@dataclass(frozen=True)
class PlaybookRun:
    """What a finished `ansible-playbook` said: its whole output, and the recap as counts by host.

    `recap["lab-1"]["changed"]` is the number of changed tasks of host lab-1.
    """

    output: str
    recap: dict[str, dict[str, int]]

    @property
    def changed(self) -> int:
        """Number of changed tasks, over all hosts."""
        return sum(counts["changed"] for counts in self.recap.values())


def run_playbook(playbook: str, *arguments: str | Path, environment: dict[str, str] | None = None) -> PlaybookRun:
    """Runs a playbook of the repository, such as "site.yml", with further arguments and environment variables.

    Raises AssertionError, with the whole output, where it fails.
    """
    with _started_playbook(playbook, *arguments, environment=environment) as process:
        output, _ = process.communicate()
    if process.returncode != 0:
        raise AssertionError(f"{shlex.join(map(str, process.args))} failed with {process.returncode}:\n{output}")
    return PlaybookRun(output, _parse_recap(output))


def _started_playbook(
    playbook: str, *arguments: str | Path, environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    # Colours would hide the recap from us, and a user's own settings the repository's.
    own = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return subprocess.Popen(
        [Path(sys.executable).with_name("ansible-playbook"), playbook, *arguments],
        cwd=REPOSITORY,
        env={**own, "ANSIBLE_NOCOLOR": "1", **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _processes_with(variables: dict[str, str]) -> list[int]:
    wanted, found = {f"{name}={value}".encode() for name, value in variables.items()}, []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted <= set((process / "environ").read_bytes().split(b"\0")):
                found.append(int(process.name))
    return found


def _parse_recap(output: str) -> dict[str, dict[str, int]]:
    recap = output[output.rindex("PLAY RECAP") :]
    return {
        line["host"]: {name: int(count) for name, count in (pair.split("=") for pair in line["counts"].split())}
        for line in _RECAP_LINE.finditer(recap)
    }


@dataclass(frozen=True)
class Lab:
    """A lab with folders below `root`. `machines` maps names to Debian releases ("bookworm").

    `number`, 0 to 3, tells the labs of one test run apart; those of two runs at once differ anyway.
    `first_address` is the last number of the first machine's address; the others' follow. `owner` is the process whose
    lab it is. `measuring` is the machine that chooses by measuring how it runs a network; the others are told.
    """

    root: Path
    machines: dict[str, str]
    number: int = 0
    first_address: int = 11
    measuring: str = ""
    owner: int = field(default_factory=os.getpid)

    @property
    def bridge(self) -> str:
        """Name of the lab's bridge."""
        return f"bvtest{self.owner}-{self.number}"

    @property
    def table(self) -> str:
        """Name of the lab's firewall table, and how those begin that a test adds."""
        return f"{_TABLE_PREFIX}{self.bridge}"

    @property
    def subnet(self) -> str:
        """First three numbers of the lab's network, in 10.128.0.0/9."""
        own = self.owner * 4 + self.number
        return f"10.{128 + own // 256 % 128}.{own % 256}"

    @property
    def external_network(self) -> IPv4Network:
        """A network for further addresses of the machines, in 198.18.0.0/15, which is kept for tests of networks."""
        own = self.owner * 4 + self.number
        return IPv4Network(f"198.{18 + own // 256 % 2}.{own % 256}.0/24")

    @property
    def inventory(self) -> Path:
        """The folder for `ansible-playbook -i`. Its group variables are those of inventory/lab."""
        return self.root / "inventory" / "lab"

    @property
    def directory(self) -> Path:
        """Where the role keeps base images and machines."""
        return self.root / "machines-of-the-lab"

    @property
    def access_directory(self) -> Path:
        """Where inventory/lab, seen from this inventory, has the key and the host keys kept."""
        return self.root / ".lab"

    def address(self, machine: str) -> str:
        """IPv4 address of a machine."""
        return f"{self.subnet}.{self._host_number(machine)}"

    def _host_number(self, machine: str) -> int:
        return self.first_address + list(self.machines).index(machine)

    def write_inventory(self) -> None:
        """Writes hosts.yml, also in place of an earlier one, beside a link to the repository's group variables."""
        self.inventory.mkdir(parents=True, exist_ok=True)
        group_vars = self.inventory / "group_vars"
        if not group_vars.is_symlink():
            group_vars.symlink_to(REPOSITORY / "inventory" / "lab" / "group_vars")
        hosts = {
            name: {
                "ansible_host": f"{{{{ lab_machine_subnet }}}}.{self._host_number(name)}",
                "lab_machine_release": release,
                # A service that hangs is killed after 15 seconds, not 40.
                "gunicorn_graceful_timeout": 5,
                **({} if name == self.measuring else FIXED_PLAN),
            }
            for name, release in self.machines.items()
        }
        # JSON is YAML.
        (self.inventory / "hosts.yml").write_text(json.dumps({"barevision": {"hosts": hosts}}))

    @property
    def base_images(self) -> Path:
        """Where the base images are, a folder for each release."""
        return self.directory / "base"

    def playbook(self, playbook: str, *arguments: str) -> PlaybookRun:
        """Runs a playbook with this lab's inventory and variables, like run_playbook."""
        return run_playbook(playbook, *self._own_arguments, *arguments)

    def kill_playbook(self, playbook: str, *arguments: str, at: str) -> None:
        """Runs a playbook, and kills all of its processes on this computer once it begins the task `at`.

        Raises AssertionError, with the whole output, if it ends before.
        """
        read, mark = [], {"BAREVISION_TEST_RUN": str(uuid.uuid4())}
        with _started_playbook(playbook, *self._own_arguments, *arguments, environment=mark) as process:
            for line in process.stdout:
                read.append(line)
                if re.match(rf"(TASK|RUNNING HANDLER) \[(.* : )?{re.escape(at)}\]", line):
                    break
            # Ansible's own processes are in groups of their own.
            for number in _processes_with(mark):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
        if process.returncode != -signal.SIGKILL:
            raise AssertionError(f"{shlex.join(map(str, process.args))} never came to {at}:\n{''.join(read)}")

    @property
    def _own_arguments(self) -> tuple[str | Path, ...]:
        variables = {
            "lab_machine_bridge": self.bridge,
            "lab_machine_subnet": self.subnet,
            "lab_machine_dir": self.directory,
        }
        return "-i", self.inventory, "-e", json.dumps({name: str(value) for name, value in variables.items()})

    def up(self, *arguments: str) -> PlaybookRun:
        """Makes the machines, as a user does."""
        self._note.write_text(json.dumps({**dataclasses.asdict(self), "root": str(self.root), "owner": self.owner}))
        self.base_images.mkdir(parents=True, exist_ok=True)
        _copy_base_images(self._shared_images, self.base_images)
        done = self.playbook("playbooks/lab.yml", *arguments)
        _copy_base_images(self.base_images, self._shared_images)
        return done

    def down(self) -> PlaybookRun:
        """Takes everything down, as a user does."""
        done = self.playbook("playbooks/lab.yml", "-e", "lab_machine_state=absent")
        self._note.unlink(missing_ok=True)
        return done

    @property
    def _shared_images(self) -> Path:
        """The base images of all labs of this run of the tests: each takes half a minute to build."""
        return Path(os.environ[_NOTES], "base")

    @property
    def _note(self) -> Path:
        return Path(os.environ[_NOTES], f"{self.bridge}.json")

    def ssh(self, machine: str, command: str, timeout: float = 120) -> str:
        """Runs a shell command in a machine, as the lab's user, and returns its standard output.

        Raises AssertionError, with what it wrote, where it fails.
        """
        done = subprocess.run(
            [
                "ssh",
                *("-i", self.access_directory / "id_ed25519"),
                *("-o", f'UserKnownHostsFile="{self.access_directory}/known_hosts"'),
                *("-o", "StrictHostKeyChecking=yes"),
                *("-o", "BatchMode=yes"),
                *("-o", "ConnectTimeout=5"),
                f"admin@{self.address(machine)}",
                command,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            said = done.stdout + done.stderr
            raise AssertionError(f"{command!r} failed in {machine} with {done.returncode}:\n{said}")
        return done.stdout.strip()

    def traces(self) -> list[str]:
        """What of this lab exists right now: processes, interface, routes, firewall tables, files."""
        # Without -ww ps cuts its lines, and so what this looks for, at 80 characters.
        found = [line for line in _output("ps", "-ww", "-eo", "pid,args") if str(self.directory) in line]
        found += [line for line in _output("ip", "-brief", "link") if line.startswith(self.bridge)]
        found += [line for line in _output("ip", "-oneline", "route") if f" dev {self.bridge} " in line]
        found += [line for line in _output("nft", "list", "tables") if self.table in line]
        found += [str(path) for path in (self.directory, self.access_directory) if path.exists()]
        return found


def _copy_base_images(source: Path, target: Path) -> None:
    """Copies what `target` lacks, each as a whole: another process may copy at the same time."""
    target.mkdir(exist_ok=True)
    for image in source.glob("[!.]*"):
        if not (target / image.name).exists():
            beside = Path(tempfile.mkdtemp(dir=target, prefix="."))
            subprocess.run(["cp", "--archive", "--reflink=auto", image, beside], check=True)
            with contextlib.suppress(OSError):
                (beside / image.name).rename(target / image.name)
            shutil.rmtree(beside)


@contextmanager
def noted_labs() -> Iterator[None]:
    """Takes down at the end the labs that were made within, also by processes started there, and are still up.

    What an earlier run left because it was killed is taken down first.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{_NOTES_PREFIX}*"):
        if folder.stat().st_uid == os.geteuid() and any(folder.iterdir()):
            with _locked(folder) as is_ours:
                if is_ours:
                    _take_down_what_is_left(folder)
    notes = Path(tempfile.mkdtemp(prefix=_NOTES_PREFIX))
    os.environ[_NOTES] = str(notes)
    with _locked(notes):
        yield
        _take_down_what_is_left(notes)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether this process has the folder's lock now, until the end or its own."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(handle)


def _take_down_what_is_left(notes: Path) -> None:
    os.environ[_NOTES] = str(notes)
    for note in notes.glob("*.json"):
        left = json.loads(note.read_text("utf-8"))
        lab = Lab(**{**left, "root": Path(left["root"])})
        print(f"taking down what is left of {lab.bridge}")
        for line in _output("nft", "list", "tables"):
            if lab.table in line and not line.endswith(lab.table):
                subprocess.run(["nft", "delete", *line.split()], check=True)
        lab.write_inventory()
        lab.down()
        shutil.rmtree(lab.root)
    shutil.rmtree(notes)


def lab_tables() -> set[str]:
    """The firewall tables of all labs of this computer: one for each lab."""
    return {line for line in _output("nft", "list", "tables") if _TABLE_PREFIX in line}


def _output(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
