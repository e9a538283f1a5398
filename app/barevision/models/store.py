"""The models directory: ``<models>/<name>/`` holds a downloaded model's files, beside what was prepared of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from barevision.errors import ModelError
from barevision.models.catalogue import EMBEDDED, EMBEDDED_FOLDER
from barevision.models.download import download, is_fetched_into
from barevision.models.pins import Pin, write_pin
from barevision.models.source import ModelSource, Progress


def is_downloaded(source: ModelSource, models: Path) -> bool:
    """Whether all files are there. A file has its name only once it was verified, so they are not read."""
    folder = source.folder or models / source.name
    return source.verified and all((folder / file.name).is_file() for file in source.files.values())


def pull(source: ModelSource, models: Path, progress: Progress | None = None) -> Path:
    """The folder with the model's files, downloaded into `models` where they are missing there.

    The hash that the user gave is remembered once the file was seen to have it.

    :raises ModelError: a file can't be fetched.
    """
    if source.folder:
        return source.folder
    folder = models / source.name
    try:
        # The weights come first: without their sha256, nothing is fetched.
        for file in sorted(source.files.values(), key=lambda file: file is not source.network):
            download(file, folder, progress)
        if source.pin:
            write_pin(folder, Pin(source.url, source.pin))
    except OSError as error:
        raise ModelError(f"{source.name} can't be fetched into {models}: {error}") from error
    return folder


def remove(source: ModelSource, models: Path) -> list[Path]:
    """Removes what was downloaded and prepared of a model, and says what: never a user's own files.

    :raises ModelError: the model is part of Barevision, or is being fetched.
    """
    if source.folder == EMBEDDED_FOLDER:
        raise ModelError(f"{EMBEDDED} comes with Barevision and can't be removed")
    folder = models / source.name
    if source.folder and source.folder.is_relative_to(folder.resolve()):
        raise ModelError(f"{source.folder} is your own folder inside of the models directory; remove it yourself")
    if not folder.is_dir():
        return []
    if is_fetched_into(folder):
        raise ModelError(f"{source.name} is being fetched by another process; wait for it, or stop it")
    removed = [path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix != ".lock"]
    if source.folder:
        prepared = (".onnx", ".json")
        removed = [path for path in removed if path.name.startswith(f"{source.name}-") and path.suffix in prepared]
    for path in removed:
        path.unlink()
    # What somebody else put here stays.
    if all(path.suffix == ".lock" for path in folder.iterdir()):
        shutil.rmtree(folder)
    return removed
