"""The models that can be asked for: those of the catalogue by name, and the user's own by path or address."""

from __future__ import annotations

import functools
import os
import tomllib
from dataclasses import replace
from importlib import resources
from pathlib import Path
from urllib.parse import unquote, urlsplit

from barevision.errors import ModelError
from barevision.models.golden import Golden
from barevision.models.pins import pulled_names, read_pin
from barevision.models.reference import Reference, parse_reference
from barevision.models.source import NAME, ModelFile, ModelSource, file_source, folder_source, refuse_other_formats

#: The model inside this package.
EMBEDDED = "roadsigns"
EMBEDDED_FOLDER = Path(str(resources.files("barevision") / "models" / EMBEDDED))


def catalogue_names() -> list[str]:
    """The names that come with Barevision, the embedded model first."""
    return [EMBEDDED, *_catalogue()]


def find_source(model: str, models: Path | None = None) -> ModelSource:
    """The model that ``WHAT[@SIZE][#sha256=HASH]`` names.

    :param models: the models directory, which remembers hashes and addresses that were given before.
    :raises ModelError: there is no such model, it lacks a file, or its size or hash can't be.
    """
    reference = parse_reference(model)
    try:
        source = _find(reference, models)
    except OSError as error:
        # As where a file goes while it is looked at.
        raise ModelError(f"{reference.what} can't be read: {error}") from error
    if source.folder is None:
        source = _as_remembered(source, reference.sha256, models)
    elif reference.sha256:
        raise ModelError(f"{reference.what} is on this machine; a sha256 is for models that are downloaded")
    if reference.size in (None, source.input_size):
        return source
    # The golden answer was given at the model's own size.
    return replace(source, input_size=reference.size, golden=None)


def _find(reference: Reference, models: Path | None) -> ModelSource:
    what = reference.what
    if what == EMBEDDED:
        source = folder_source(EMBEDDED_FOLDER, "Six kinds of European road signs; comes with Barevision")
        return replace(source, licence="MIT")
    if what in _catalogue():
        return _catalogue()[what]
    if reference.is_url:
        return url_source(what)
    # pathlib raises an error for a text that is too long to be a path; os.path says no.
    path = Path(os.path.expanduser(what))  # noqa: PTH111
    if os.path.isdir(path):  # noqa: PTH112
        return folder_source(path.resolve(), f"Your own model in {path}")
    if os.path.isfile(path) and path.suffix.lower() == ".onnx":  # noqa: PTH113
        return file_source(path.resolve())
    address = read_pin(models, what).url
    if address:
        return url_source(address, what)
    refuse_other_formats(path)
    if path.suffix.lower() in (".cfg", ".weights"):
        raise ModelError(
            f"{path} is part of a Darknet network: put .cfg, .weights and .names into a folder, and name that"
        )
    names = ", ".join(pulled_names(models) + catalogue_names())
    raise ModelError(f"unknown model {what!r}: it is neither a folder, nor an .onnx file, nor one of {names}")


def url_source(url: str, name: str | None = None, sha256: str | None = None) -> ModelSource:
    """The ``.onnx`` file at the address `url` as a model called `name`, or else like the file.

    :param sha256: what the file must have, said by the user.
    :raises ModelError: the address can't be used, or the name, or it is one of the catalogue's.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise ModelError(f"{url!r} is not an address: {error}") from None
    file = unquote(parts.path).rpartition("/")[2]
    if host:
        refuse_other_formats(Path(file))
    if not host or not file.lower().endswith(".onnx"):
        raise ModelError(
            f"{url!r} names no .onnx file; files of a Darknet network go into a folder, which then is the model"
        )
    if parts.username or parts.password:
        raise ModelError(f"the address of {file} has a password in it, which settings and logs would show")
    name = file[: -len(".onnx")] if name is None else name
    if not NAME.fullmatch(name) or name in catalogue_names():
        raise ModelError(
            f"a model from an address can't be called {name!r}: expected letters, digits and ._+- (64 at most), "
            "and none of the catalogue's names; give another with --name"
        )
    return ModelSource(name, f"From {url}", {"onnx": ModelFile(f"{name}.onnx", None, sha256, (url,))}, pin=sha256)


def _as_remembered(source: ModelSource, sha256: str | None, models: Path | None) -> ModelSource:
    """`source` with the hash that the user gives now or gave before, and the size that its file turned out to have."""
    if sha256 is None:
        pin = read_pin(models, source.name)
        sha256 = pin.sha256 if pin.url == source.url else None
    if sha256:
        known = source.network.sha256
        if known and source.pin is None and known != sha256:
            raise ModelError(f"the catalogue has sha256 {known} for {source.network.name}, not {sha256}")
        source = replace(source.with_network(sha256=sha256), pin=sha256)
    if source.network.size is None and source.network.sha256 and models:
        path = models / source.name / source.network.name
        if path.is_file():
            return source.with_network(size=path.stat().st_size)
    return source


@functools.cache
def _catalogue() -> dict[str, ModelSource]:
    folder = Path(str(resources.files("barevision") / "models"))
    entries = tomllib.loads((folder / "catalogue.toml").read_text("utf-8"))
    sources = {}
    for name, entry in entries.items():
        files = {
            part: ModelFile(file["name"], file.get("size"), file.get("sha256"), tuple(file["urls"]))
            for part, file in entry["files"].items()
        }
        golden = entry.get("golden")
        sources[name] = ModelSource(
            name,
            entry["description"],
            files,
            input_size=tuple(entry["input"]),
            golden=golden and Golden.read(folder / golden["picture"], folder / golden["answer"]),
            licence=entry["licence"],
        )
    return sources
