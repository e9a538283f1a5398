"""The models that can be asked for: by name, as a folder or a file, or from an address.

A model is asked for as ``WHAT[@SIZE][#sha256=HASH]``. WHAT is a name of the catalogue, a folder, an ``.onnx`` file or
the https address of one; SIZE is the side of the network's input in pixels, or WIDTHxHEIGHT; HASH is that of the
``.weights`` or ``.onnx`` file, for what the catalogue has no hash of.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import tomllib
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from urllib.parse import unquote, urlsplit

from barevision.errors import ModelError
from barevision.models.golden import Golden

#: The model inside this package.
EMBEDDED = "roadsigns"
#: In a model's folder of the models directory: where it comes from and the hash that the user gave for it.
PINNED = "source.json"
_PARTS = ("cfg", "weights", "names")
_LARGEST_SIDE = 4096
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}", re.ASCII)


@dataclass(frozen=True)
class ModelFile:
    """One file of a model.

    `size` in bytes and `sha256` are None where nobody vouches for them; `urls` is empty for files that are not
    downloaded.
    """

    name: str
    size: int | None
    sha256: str | None
    urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelSource:
    """A model as its author made it.

    `files` by part ('cfg', 'weights', 'names', or 'onnx' alone). `folder` is where they are, or None if they are
    downloaded into the models directory. `input_size` is (height, width) in pixels, or None for what the file says.
    `pin` is the hash that the user gave, or None.
    """

    name: str
    description: str
    files: dict[str, ModelFile]
    folder: Path | None = None
    input_size: tuple[int, int] | None = None
    golden: Golden | None = None
    licence: str = "yours"
    pin: str | None = None

    @property
    def network(self) -> ModelFile:
        """The file with the weights."""
        return self.files.get("onnx") or self.files["weights"]

    @property
    def verified(self) -> bool:
        """Whether the content of every file is known beforehand."""
        return all(file.sha256 for file in self.files.values())


@dataclass(frozen=True)
class Reference:
    """What was asked for: `what`, the (height, width) that was asked for or None, the hash or None."""

    what: str
    size: tuple[int, int] | None
    sha256: str | None

    @property
    def is_url(self) -> bool:
        """Whether it is an address rather than a name or a path."""
        return re.match(r"https?://", self.what, re.IGNORECASE) is not None


def parse_reference(model: str) -> Reference:
    """``WHAT[@SIZE][#sha256=HASH]`` in parts. A folder or file of exactly that name is meant as it is.

    :raises ModelError: a size or a hash that is none.
    """
    # Unlike pathlib's, it takes a text that can be no path for one that isn't there.
    if os.path.exists(os.path.expanduser(model)):  # noqa: PTH110, PTH111
        return Reference(model, None, None)
    rest, separator, digest = model.partition("#sha256=")
    if separator:
        check_sha256(digest)
    what, at, size = rest.rpartition("@")
    if not at or "/" in size:
        return Reference(rest, None, digest.lower() or None)
    match = re.fullmatch(r"([0-9]{1,5})(?:x([0-9]{1,5}))?", size)
    if not match and re.match("https?:", what):
        return Reference(rest, None, digest.lower() or None)
    if not match:
        raise ModelError(f"the size {size!r} of {model!r} is none; expected one like {what}@608 or {what}@640x384")
    width, height = int(match[1]), int(match[2] or match[1])
    if not (0 < width <= _LARGEST_SIDE and 0 < height <= _LARGEST_SIDE):
        raise ModelError(
            f"the size {size} of {model!r} is out of range, allowed are 1 to {_LARGEST_SIDE} pixels a side"
        )
    return Reference(what, (height, width), digest.lower() or None)


def check_sha256(digest: str) -> None:
    """Raises `ModelError` if `digest` is no SHA-256 in hexadecimal."""
    if not re.fullmatch("[0-9a-fA-F]{64}", digest):
        raise ModelError(f"{digest[:80]!r} is no sha256, expected 64 hexadecimal digits (what 'sha256sum FILE' prints)")


def catalogue_names() -> list[str]:
    """The names that come with Barevision, the embedded model first."""
    return [EMBEDDED, *_catalogue()]


def find_source(model: str, models: Path | None = None) -> ModelSource:
    """The model that ``WHAT[@SIZE][#sha256=HASH]`` names.

    :param models: the models directory, which remembers hashes and addresses that were given before.
    :raises ModelError: no such model, one that lacks a file, a size or a hash that can't be.
    """
    asked = parse_reference(model)
    source = _find(asked, models)
    if asked.sha256 and source.folder:
        raise ModelError(f"{asked.what} is on this machine; a sha256 is for models that are downloaded")
    source = _pinned(source, asked.sha256 or _remembered(models, source).get("sha256"))
    source = _measured(source, models)
    if asked.size is None or asked.size == source.input_size:
        return source
    # Its golden answer was given at its own size.
    return replace(source, input_size=asked.size, golden=None)


def _find(asked: Reference, models: Path | None) -> ModelSource:
    if asked.what == EMBEDDED:
        description = "Six kinds of European road signs; comes with Barevision"
        return replace(_folder_source(_embedded_folder(), description), licence="MIT")
    if asked.what in _catalogue():
        return _catalogue()[asked.what]
    if asked.is_url:
        return url_source(asked.what)
    path = Path(os.path.expanduser(asked.what))  # noqa: PTH111
    if os.path.isdir(path):  # noqa: PTH112
        return _folder_source(path.resolve(), f"Your own model in {path}")
    if os.path.isfile(path) and path.suffix == ".onnx":  # noqa: PTH113
        return _file_source(path.resolve())
    address = _read_pinned(models, asked.what).get("url")
    if address:
        return url_source(address, asked.what)
    names = ", ".join(pulled_names(models) + catalogue_names())
    raise ModelError(f"unknown model {asked.what!r}: it is neither a folder, nor an .onnx file, nor one of {names}")


def url_source(url: str, name: str | None = None, sha256: str | None = None) -> ModelSource:
    """The ``.onnx`` file at the address `url` as a model called `name`, or like the file.

    :param sha256: what the file must have, said by the user.

    :raises ModelError: an address or a name that can't be.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise ModelError(f"{url!r} is no address: {error}") from None
    file = unquote(parts.path).rpartition("/")[2]
    if not host or not file.endswith(".onnx"):
        raise ModelError(
            f"{url!r} names no .onnx file; files of a Darknet network go into a folder, which then is the model"
        )
    if parts.username or parts.password:
        raise ModelError(f"the address of {file} has a password in it, which settings and logs would show")
    name = name or file.removesuffix(".onnx")
    if not _NAME.fullmatch(name) or name in catalogue_names():
        raise ModelError(
            f"{name!r} can't be the name of a model from an address: expected letters, digits and ._+- (64 at most), "
            "and none of the catalogue's; give another with --name"
        )
    file = ModelFile(f"{name}.onnx", None, sha256, (url,))
    return ModelSource(name, f"From {url}", {"onnx": file}, pin=sha256)


def pulled_names(models: Path | None) -> list[str]:
    """The names of what was downloaded from an address into `models`."""
    if models is None or not models.is_dir():
        return []
    return sorted(
        path.name for path in models.iterdir() if path.is_dir() and _read_pinned(models, path.name).get("url")
    )


def _pinned(source: ModelSource, digest: str | None) -> ModelSource:
    """`source` with the hash that the user gave for its weights."""
    if not digest:
        return source
    part, file = next((part, file) for part, file in source.files.items() if file is source.network)
    if file.sha256 and source.pin is None and file.sha256 != digest:
        raise ModelError(f"the catalogue has sha256 {file.sha256} for {file.name}, not {digest}")
    files = {**source.files, part: replace(file, sha256=digest)}
    return replace(source, files=files, pin=digest)


def _measured(source: ModelSource, models: Path | None) -> ModelSource:
    """`source` with the size of a downloaded file of which only the hash is known."""
    part, file = next((part, file) for part, file in source.files.items() if file is source.network)
    if file.size or not file.sha256 or models is None:
        return source
    path = models / source.name / file.name
    if not path.is_file():
        return source
    return replace(source, files={**source.files, part: replace(file, size=path.stat().st_size)})


def _remembered(models: Path | None, source: ModelSource) -> dict:
    """What the user once said of `source`, if it is still the same model."""
    found = {} if source.folder else _read_pinned(models, source.name)
    url = source.network.urls[0] if "onnx" in source.files and source.network.urls else None
    return found if found.get("url") == url else {}


def _read_pinned(models: Path | None, name: str) -> dict:
    if models is None or not _NAME.fullmatch(name):
        return {}
    try:
        found = json.loads((models / name / PINNED).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{models / name / PINNED} can't be read: {error}; 'barevision models rm {name}'") from None
    return found if isinstance(found, dict) else {}


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
        part: ModelFile(file["name"], file.get("size"), file.get("sha256"), tuple(file["urls"]))
        for part, file in entry["files"].items()
    }
    return ModelSource(name, entry["description"], files, input_size=tuple(entry["input"]), licence=entry["licence"])


def _folder_source(folder: Path, description: str) -> ModelSource:
    parts = ("onnx",) if any(folder.glob("*.onnx")) and not any(folder.glob("*.cfg")) else _PARTS
    files = {part: _folder_file(folder, part) for part in parts}
    return ModelSource(folder.name, description, files, folder, golden=Golden.in_folder(folder))


def _file_source(path: Path) -> ModelSource:
    file = ModelFile(path.name, path.stat().st_size, file_sha256(path))
    return ModelSource(path.stem, f"Your own model {path}", {"onnx": file}, path.parent)


def _folder_file(folder: Path, part: str) -> ModelFile:
    found = sorted(path for path in folder.glob(f"*.{part}") if path.is_file())
    if len(found) != 1:
        what = ", ".join(path.name for path in found) or "none"
        raise ModelError(f"{folder}: expected exactly one .{part} file, found {what}")
    return ModelFile(found[0].name, found[0].stat().st_size, file_sha256(found[0]))
