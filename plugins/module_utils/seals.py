"""Seals: a folder is complete once it has a list of its files, which is written after all of them are on the disk.

A power cut takes what was written in its last half a minute, and leaves the names: file systems write names out first.
So the list comes after everything that it names. Later it tells what was damaged.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any

#: The file with the list, in the folder.
SEAL = ".complete"


def is_sealed(folder: Path) -> bool:
    """Whether the folder was complete once."""
    return os.path.lexists(folder / SEAL)


def describe_files(folder: Path, excluded: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """What each file and link below `folder` is, by its path from there, sorted.

    :param excluded: names directly in the folder that are left out.
    """
    described = {}
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in folders + files):
            relative = str(path.relative_to(folder))
            if relative not in (SEAL, *excluded) and (path.is_symlink() or not path.is_dir()):
                described[relative] = describe(str(path)) | ({} if path.is_symlink() else {"sha256": file_sha256(path)})
    return dict(sorted(described.items()))


def describe(path: str) -> dict[str, Any]:
    """What can be told without reading the file: of a link where it leads."""
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return {"target": os.readlink(path)}  # noqa: PTH115 (an environment has thousands of files, and a Path takes time)
    return {"size": status.st_size, "changed": int(status.st_mtime), "mode": oct(stat.S_IMODE(status.st_mode))}


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal, for files that are larger than the machine's memory too."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def write_seal(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    """Writes the list, itself to the disk, and then gives it its name."""
    beside = folder / f"{SEAL}.partial"
    with beside.open("w", encoding="utf-8") as file:
        json.dump({"files": files}, file, indent=0)
        file.flush()
        os.fsync(file.fileno())
    beside.chmod(0o644)
    beside.replace(folder / SEAL)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_seal(folder: Path) -> dict[str, dict[str, Any]]:
    """The list; empty if there is none that can be read."""
    try:
        files = json.loads((folder / SEAL).read_text("utf-8"))["files"]
        return {name: dict(file) for name, file in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def find_damage(folder: Path, contents: bool) -> list[str]:
    """What of a sealed folder is no longer as it was, a sentence each. What was added since is none of it.

    :param contents: whether every file is read; if not, only those whose time of change is another one than it was.
    """
    files = read_seal(folder)
    if not files:
        return [f"{folder / SEAL} does not list the files that {folder} consists of"]
    damage = []
    for name, expected in files.items():
        path = f"{folder}/{name}"
        try:
            found = describe(path)
            same_time = found.pop("changed", None) == expected.get("changed")
            is_same = found.items() <= expected.items() and found.keys() == expected.keys() - {"changed", "sha256"}
            if is_same and "sha256" in expected and (contents or not same_time):
                is_same = file_sha256(Path(path)) == expected["sha256"]
        except OSError as error:
            damage.append(f"{path} can't be read: {error.strerror}")
        else:
            damage += [] if is_same else [f"{path} is not as it was made"]
    return damage
