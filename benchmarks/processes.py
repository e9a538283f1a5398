"""The processes of a contestant: started in a session of their own, measured and ended as a whole, others never."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_TICKS = os.sysconf("SC_CLK_TCK")
_SECONDS_TO_END = 15


@contextmanager
def started(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    log: Path,
    stdin: int | None = subprocess.DEVNULL,
    stdout: IO | int | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[subprocess.Popen]:
    """`command`, running; what it prints goes to the file `log`. It and all that it started end with the context."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **environment},
            stdin=stdin,
            stdout=stdout or file,
            stderr=file,
            cwd=cwd,
            pass_fds=pass_fds,
            # Ctrl-C is the benchmark's own; it ends what it started itself.
            start_new_session=True,
            text=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen) -> None:
    tree = family(process.pid)
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal_number)
        try:
            process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            continue
        break
    # Some servers give their workers sessions of their own.
    for pid in tree:
        if pid != process.pid and _parent(pid) is not None and _session(pid) != os.getsid(0):
            os.kill(pid, signal.SIGKILL)


def family(root: int) -> list[int]:
    """The process `root` and all that come from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        parent = _parent(int(entry.name))
        if parent is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found = [root] if Path(f"/proc/{root}").exists() else []
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def memory(pids: Sequence[int]) -> int:
    """The proportional set size (PSS) of processes in bytes: what they share with others counts in parts."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
    return total


def processor_seconds(pids: Sequence[int]) -> float:
    """Processor time of processes since they started, with that of their ended children, in seconds."""
    return sum(sum(map(int, fields[11:15])) for pid in pids if (fields := _stat(pid))) / _TICKS


def busy_seconds() -> float:
    """Processor time that this machine spent on anything since its boot, all cores together, in seconds."""
    user, nice, system, _, _, irq, softirq, steal, *_ = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / _TICKS


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name, or none if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if fields and fields[0] != "Z" else None


def _session(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[3]) if fields else None
