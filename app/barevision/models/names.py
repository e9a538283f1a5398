"""The names of an exported network's classes: from its metadata, or from a file beside it.

Ansible's filter plugins import this module, too: importing it needs Python's own library only.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

from barevision.errors import ModelError

_MAX_BYTES = 2**20
_ENDINGS = (".names", ".txt", ".yaml", ".yml")
_USUAL = ("classes.txt", "labels.txt", "names.txt", "data.yaml")


def names_beside(onnx: Path) -> Path | None:
    """The file that may have the names of the network `onnx`; None if there is none, or no telling which.

    It is called like the network, or as such files usually are, or is the only one of its kind beside it.
    """
    beside = [path for path in sorted(onnx.parent.glob("*")) if path.suffix.lower() in _ENDINGS and path.is_file()]
    for name in (*(f"{onnx.stem}{ending}" for ending in _ENDINGS), *_USUAL):
        called_so = [path for path in beside if path.name.lower() == name.lower()]
        if called_so:
            return called_so[0]
    for endings in ((".names",), (".txt",), (".yaml", ".yml")):
        of_a_kind = [path for path in beside if path.suffix.lower() in endings]
        if len(of_a_kind) == 1:
            return of_a_kind[0]
    return None


def read_names(path: Path) -> list[str]:
    """The names in a file: one a line, or those of a .yaml as Ultralytics' data.yaml has them.

    :raises ModelError: the file is no UTF-8 text, or has no names.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise ModelError(f"{path} has {path.stat().st_size} bytes, names of classes take {_MAX_BYTES} at most")
    try:
        # Windows' editors put a byte order mark first, which utf-8-sig takes away.
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    if path.suffix.lower() not in (".yaml", ".yml"):
        names = [line.strip() for line in text.splitlines() if line.strip()]
        expected = "one a line"
    else:
        names = _names_in_yaml(text)
        expected = "a list 'names', as in Ultralytics' data.yaml"
    if not names:
        raise ModelError(f"{path} has no names, expected {expected}")
    return names


def _names_in_yaml(text: str) -> list[str] | None:
    import yaml

    try:
        # BaseLoader makes text of everything: no class is called False because somebody wrote no.
        content = yaml.load(text, yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError):
        return None
    return as_names(content.get("names")) if isinstance(content, dict) else None


def names_in_text(text: str) -> list[str] | None:
    """The names in the metadata's `text`, a list or a table by number in Python's or JSON's spelling; None if none.

    It is never evaluated.
    """
    for parse in (json.loads, ast.literal_eval):
        try:
            names = as_names(parse(text.strip())) if len(text) <= _MAX_BYTES else None
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if names:
            return names
    return None


def as_names(value: object) -> list[str] | None:
    """The names in a list, or in a table whose keys are the numbers from 0; None if `value` is neither."""
    if isinstance(value, dict):
        by_number = {str(key): name for key, name in value.items()}
        value = [by_number.get(str(number)) for number in range(len(value))]
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, (str, int, float)) for name in value):
        return None
    return [str(name) for name in value]
