"""What was measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

from benchmarks import environments

# What engines choose their code by.
_FLAGS = re.compile(
    r"^(avx2|avx512f|avx512bw|avx_vnni|avx512_vnni|avx512_bf16|avx512_fp16|amx_.*|asimddp|i8mm|bf16|sve2?)$"
)


def described() -> dict:
    """The processor, the system, and the versions of what is compared."""
    flags = processor_flags()
    h2load = subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return {
        "processor": _first("/proc/cpuinfo", r"model name\s*: (.*)") or platform.machine(),
        "model": _first("/proc/cpuinfo", r"model\t+: (.*)"),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "threads_per_core": _threads_per_core(),
        "flags": sorted(flag for flag in flags if _FLAGS.match(flag)),
        "virtual": "hypervisor" in flags,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": _first("/etc/os-release", r'PRETTY_NAME="?([^"\n]*)'),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
        "h2load": h2load,
        "versions": {
            name: environments.versions(name)
            for name in ("flask", "fastapi", "litserve", "bentoml", "opencv4")
            if (environments.BUILD / "venvs" / name).is_dir()
        },
    }


def carried_precisions(barevisions: set[str]) -> set[str]:
    """Of the precisions of Barevision's engines, those beside f32 that are worth a try on this processor."""
    flags = processor_flags()
    has = {
        # With AVX-512's instructions for bf16 alone OpenVINO took twice as long as at f32.
        "bf16": bool(flags & {"amx_bf16", "bf16"}),
        "int8": bool(flags & {"amx_int8", "avx512_vnni", "avx_vnni", "asimddp", "avx2"}),
    }
    return {name for name, is_there in has.items() if is_there and name in barevisions}


def processor_flags() -> set[str]:
    """The first core's, as Linux calls them."""
    return set((_first("/proc/cpuinfo", r"(?:flags|Features)\s*: (.*)") or "").split())


def _threads_per_core() -> int:
    siblings = Path("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list")
    return len(re.split("[,-]", siblings.read_text().strip())) if siblings.is_file() else 1


def _first(path: str, pattern: str) -> str | None:
    found = re.search(pattern, Path(path).read_text())
    return found[1].strip() if found else None
