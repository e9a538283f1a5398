"""A run's results as they come, a line of JSON each, so that a run that was stopped goes on."""

from __future__ import annotations

import json
from pathlib import Path


class Run:
    """The file `path`, read at the start and written to with each result."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []

    def read(self) -> list[dict]:
        """All results."""
        return self._lines

    def machine(self) -> dict | None:
        """What it was measured on, the last time; None if nothing was."""
        return next((line["machine"] for line in reversed(self._lines) if "machine" in line), None)

    def add(self, line: dict) -> None:
        """Writes a result, unless it is there already."""
        line = json.loads(json.dumps(line))
        if line in self._lines:
            return
        self._lines.append(line)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def find(self, key: dict) -> dict | None:
        """The last result with all that `key` says."""
        return next((line for line in reversed(self._lines) if key.items() <= line.items()), None)

    def has(self, key: dict) -> bool:
        """Whether there are results of `key`. What failed is tried again."""
        return any(key.items() <= line.items() and "results" in line for line in self._lines)
