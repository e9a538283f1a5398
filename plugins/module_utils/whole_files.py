"""Files that are there as they were, or as they are to be, and never in between."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: str, mode: int, owner: int, group: int) -> None:
    """Writes `content` beside the file at `path` to the disk, and then gives it its name; owner and group by number."""
    beside = path.with_name(f".{path.name}.partial")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(content)
        os.fchown(file.fileno(), owner, group)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
