"""Prints, as one line of JSON, what a machine has: memory, free disk, Python, and what was deployed before.

Argument: JSON with `root`, `conda`, `models` (paths), `model` (what its prepared file's name starts with) and `python`
(the distribution's).
Changes nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def existing(path: Path) -> Path:
    """`path`, or its nearest parent that exists: the file system it would be made on."""
    return path if path.exists() else existing(path.parent)


def free(path: str) -> dict:
    """The file system of `path`, as a number, and the bytes free on it."""
    place = existing(Path(path))
    room = os.statvfs(place)
    return {"device": place.stat().st_dev, "free": room.f_bavail * room.f_frsize}


def version(python: str) -> str | None:
    """The version of the interpreter `python`, like "3.11.2"; None if there is none."""
    try:
        done = subprocess.run([python, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.split()[1]


def measure(wanted: dict) -> dict:
    """What this machine has of what is `wanted`; sizes in bytes."""
    models = Path(wanted["models"])
    return {
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "room": {path: free(path) for path in (wanted["root"], wanted["conda"], wanted["models"])},
        "python": version(wanted["python"]),
        "deployed": Path(wanted["root"], "current").exists(),
        "conda": Path(wanted["conda"], "bin/conda").exists(),
        "prepared": any((models / wanted["model"]).glob(f"{wanted['model']}-*.onnx")),
    }


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
