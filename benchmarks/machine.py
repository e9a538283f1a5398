"""What was measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

from barevision.engines.processor import SPEED_FLAGS, this_processor
from benchmarks import environments


def described() -> dict:
    """The processor, the system, and the versions of what is compared."""
    processor = this_processor()
    h2load = subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return {
        "processor": processor.name,
        "model": _first("/proc/cpuinfo", r"model\t+: (.*)"),
        "architecture": platform.machine(),
        "cores": processor.cores,
        "threads_per_core": _threads_per_core(),
        "flags": sorted(processor.flags & SPEED_FLAGS),
        "virtual": "hypervisor" in processor.flags,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": _first("/etc/os-release", r'PRETTY_NAME="?([^"\n]*)'),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
        "h2load": h2load,
        "versions": {
            name: environments.versions(name)
            for name in ("flask", "fastapi", "litserve", "bentoml", "opencv4")
            if (environments.BUILD / "venvs" / name).is_dir()
        },
    }


def is_comparable(one: dict, other: dict) -> bool:
    """Whether figures of two described machines may stand in one table."""
    return all(one[name] == other[name] for name in ("processor", "model", "architecture", "cores", "flags"))


def _threads_per_core() -> int:
    siblings = Path("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list")
    return len(re.split("[,-]", siblings.read_text().strip())) if siblings.is_file() else 1


def _first(path: str, pattern: str) -> str | None:
    found = re.search(pattern, Path(path).read_text())
    return found[1].strip() if found else None
