"""The models that can be asked for: by name, or as a folder with ``.cfg``, ``.weights`` and ``.names``."""

from __future__ import annotations

import functools
import hashlib
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from barevision.models.errors import ModelError
from barevision.models.golden import Golden

#: The model inside this package.
EMBEDDED = "roadsigns"
_PARTS = ("cfg", "weights", "names")


@dataclass(frozen=True)
class ModelFile:
    """One file of a model. `size` in bytes; `urls` is empty for files that nobody downloads."""

    name: str
    size: int
    sha256: str
    urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelSource:
    """A model as its author made it.

    `files` by part ('cfg', 'weights', 'names'). `folder` is where they are, or None if they are downloaded into the
    models directory. `input_size` is (height, width) in pixels, or None for what the ``.cfg`` says.
    """

    name: str
    description: str
    files: dict[str, ModelFile]
    folder: Path | None = None
    input_size: tuple[int, int] | None = None
    golden: Golden | None = None


def catalogue_names() -> list[str]:
    """The names that `find_source` knows, the embedded model first."""
    return [EMBEDDED, *_catalogue()]


def find_source(model: str) -> ModelSource:
    """The model called `model`, or the one in the folder `model`.

    :raises ModelError: no such name and no such folder, a folder that lacks a file, or a golden answer that is none.
    """
    if model == EMBEDDED:
        return _folder_source(_embedded_folder(), "Six kinds of European road signs; comes with Barevision")
    if model in _catalogue():
        return _catalogue()[model]
    folder = Path(model).expanduser()
    if folder.is_dir():
        return _folder_source(folder.resolve(), f"Your own model in {folder}")
    names = ", ".join(catalogue_names())
    raise ModelError(f"unknown model {model!r}: it is neither a folder nor one of {names}")


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _embedded_folder() -> Path:
    return Path(str(resources.files("barevision") / "models" / EMBEDDED))


@functools.cache
def _catalogue() -> dict[str, ModelSource]:
    text = (resources.files("barevision") / "models" / "catalogue.toml").read_text("utf-8")
    return {name: _catalogue_source(name, entry) for name, entry in tomllib.loads(text).items()}


def _catalogue_source(name: str, entry: dict) -> ModelSource:
    files = {
        part: ModelFile(file["name"], file["size"], file["sha256"], tuple(file["urls"]))
        for part, file in entry["files"].items()
    }
    return ModelSource(name, entry["description"], files, input_size=tuple(entry["input"]))


def _folder_source(folder: Path, description: str) -> ModelSource:
    files = {part: _folder_file(folder, part) for part in _PARTS}
    return ModelSource(folder.name, description, files, folder, golden=Golden.in_folder(folder))


def _folder_file(folder: Path, part: str) -> ModelFile:
    found = sorted(path for path in folder.glob(f"*.{part}") if path.is_file())
    if len(found) != 1:
        what = ", ".join(path.name for path in found) or "none"
        raise ModelError(f"{folder}: expected exactly one .{part} file, found {what}")
    return ModelFile(found[0].name, found[0].stat().st_size, file_sha256(found[0]))
