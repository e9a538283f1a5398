"""What the user said of a downloaded model: its address and its sha256, in ``source.json`` in the model's folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from barevision.errors import ModelError
from barevision.models.files import write_whole
from barevision.models.source import NAME

_FILE = "source.json"


@dataclass(frozen=True)
class Pin:
    """The address of a model that is not in the catalogue, and the sha256 of its weights; each None if not given."""

    url: str | None = None
    sha256: str | None = None


def read_pin(models: Path | None, name: str) -> Pin:
    """What was remembered of the model `name` in the models directory; an empty pin where nothing was.

    :raises ModelError: the file is damaged.
    """
    if models is None or not NAME.fullmatch(name):
        return Pin()
    path = models / name / _FILE
    try:
        values = json.loads(path.read_text("utf-8"))
        if not isinstance(values, dict) or not all(isinstance(value, (str, type(None))) for value in values.values()):
            raise ValueError("expected an object of texts")
    except FileNotFoundError:
        return Pin()
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} can't be read: {error}; 'barevision models rm {name}'") from None
    return Pin(values.get("url"), values.get("sha256"))


def write_pin(folder: Path, pin: Pin) -> None:
    """Remembers `pin` in a model's folder; a file that says the same already is left as it is."""
    path, data = folder / _FILE, (json.dumps(asdict(pin), indent=1) + "\n").encode()
    if not path.is_file() or path.read_bytes() != data:
        write_whole(path, data)


def pulled_names(models: Path | None) -> list[str]:
    """The names of what was downloaded from an address into `models`, also of what `read_pin` can't read."""
    if models is None or not models.is_dir():
        return []
    names = sorted(path.name for path in models.iterdir() if (path / _FILE).is_file() and NAME.fullmatch(path.name))
    return [name for name in names if is_damaged(models, name) or read_pin(models, name).url]


def is_damaged(models: Path, name: str) -> bool:
    """Whether `read_pin` can't read what was remembered of the model `name`."""
    try:
        read_pin(models, name)
    except ModelError:
        return True
    return False
