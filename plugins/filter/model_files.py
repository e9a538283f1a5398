"""The files that a model on this computer consists of."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What the app of the checkout that Ansible runs from reads counts, whatever else of that name is installed.
sys.path.insert(0, str(Path(__file__).parents[2] / "app"))
from barevision.models.names import names_beside

DOCUMENTATION = r"""
name: model_files
short_description: Finds the files of a model on this computer
description:
  - Takes the path of a model and returns the SHA-256 of each of its files by the file's name.
  - Of a folder, these are the files that Barevision reads of a model, links among them. Whatever else is in the
    folder is none of the model's.
  - With an C(.onnx) file goes the file beside it that may have the names of its classes.
options:
  _input:
    description: The path of a folder or of a file.
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

_ENDINGS = (".cfg", ".weights", ".names", ".onnx")
_GOLDEN = ("golden.jpg", "golden.json")


def model_files(path: str) -> dict[str, str]:
    """What RETURN describes."""
    model = Path(path)
    files = {model}
    if model.is_dir():
        files = {file for file in model.iterdir() if file.suffix.lower() in _ENDINGS or file.name in _GOLDEN}
    files |= {names_beside(file) for file in files if file.suffix.lower() == ".onnx" and file.is_file()} - {None}
    # A link that leads nowhere is not a file.
    return {file.name: _sha256(file) for file in sorted(files) if file.is_file()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FilterModule:
    """See DOCUMENTATION."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"model_files": model_files}
