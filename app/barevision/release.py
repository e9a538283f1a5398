"""The release that this code is a part of, where a deployment has put it: `releases/<commit>`."""

from __future__ import annotations

import re
from pathlib import Path

# A deployment writes it last.
_SEAL = ".complete"


def release_folder(path: Path = Path(__file__)) -> Path | None:
    """The folder of the release that `path` is a file of; None where it isn't a deployed one."""
    match = re.match(r".*/releases/[0-9a-f]{40}(?=/)", str(path.resolve()))
    return Path(match[0]) if match else None


def release_commit(path: Path = Path(__file__)) -> str | None:
    """The commit of that release, by which its folder is named."""
    folder = release_folder(path)
    return folder and folder.name


def release_time(path: Path = Path(__file__)) -> float | None:
    """When that release was made, in seconds since 1970; None where that is not known."""
    folder = release_folder(path)
    try:
        return folder and (folder / _SEAL).stat().st_mtime
    except OSError:
        return None
