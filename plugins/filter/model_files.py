"""The files that a model on this computer consists of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
name: model_files
short_description: Finds the files of a model on this computer
description:
  - Takes the path of a model and returns the SHA-256 of each of its files by the file's name.
  - Of a folder, these are the files that Barevision reads of a model, links among them. Whatever else is in the
    folder is none of the model's.
options:
  _input:
    description: The path of a folder, or of a file, which then is all of the model.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Print the names of a model's files
  ansible.builtin.debug:
    msg: "{{ ('/srv/models/mine' | model_files).keys() }}"
"""

RETURN = r"""
_value:
  description: SHA-256 by name, sorted by name.
  type: dict
  sample: {mine.cfg: 0123..., mine.names: 4567..., mine.weights: 89ab...}
"""

_PATTERNS = ("*.cfg", "*.weights", "*.names", "*.onnx", "golden.jpg", "golden.json")


def model_files(path: str) -> dict[str, str]:
    """What RETURN describes."""
    model = Path(path)
    candidates = [file for pattern in _PATTERNS for file in model.glob(pattern)] if model.is_dir() else [model]
    # A link that leads nowhere is not a file.
    return {file.name: _sha256(file) for file in sorted(candidates) if file.is_file()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FilterModule:
    """See DOCUMENTATION."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"model_files": model_files}
