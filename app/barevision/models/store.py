"""The models directory: downloaded files, and the ONNX files prepared from them.

``<models>/<name>/`` holds a catalogue model's files and, for any model, ``<name>-<digest>.onnx`` with a
``<name>-<digest>.json`` beside it that has its size and sha256. The digest covers the source files, the input size and
the converter's version, so that a release never loads what another release prepared differently, and rolling back
finds its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from barevision.darknet import CONVERTER_VERSION, Weights, build_model, parse_config
from barevision.models.catalogue import ModelFile, ModelSource, file_sha256
from barevision.models.download import Progress, download
from barevision.models.errors import ModelError
from barevision.models.golden import Golden

# Measured with ONNX Runtime, fp32: resident memory is about 3.2 times the weights (829 MB for YOLOv3's 248 MB), on top
# of Python and the libraries.
_MEMORY_FACTOR = 3.2
_MEMORY_BASE = 150 * 2**20
# The most that a picture was seen to take while it is decoded (18.7: a 16-bit PNG with transparency), with room. A JPEG
# takes 4 to 12.
# It takes MALLOC_MMAP_THRESHOLD_, as in barevision.service, to have it back before the next one.
_MEMORY_PER_PIXEL = 22


@dataclass(frozen=True)
class PreparedModel:
    """A network ready to be loaded: `path` is a verified ONNX file; `changed` says that this call made it."""

    name: str
    path: Path
    labels: list[str]
    golden: Golden | None
    changed: bool


def requirements(source: ModelSource, pixels: int) -> tuple[int, int]:
    """What a model takes, in bytes, as (disk, memory): its files and the ONNX file; the serving process.

    :param pixels: how many pixels of pictures the process may have in hand at once.
    """
    weights = source.files["weights"].size
    disk = sum(file.size for file in source.files.values()) + weights
    return disk, round(_MEMORY_BASE + _MEMORY_FACTOR * weights + _MEMORY_PER_PIXEL * pixels)


def pull(source: ModelSource, models: Path, progress: Progress | None = None) -> Path:
    """The folder with the model's files, downloaded into `models` where they are missing there.

    :raises ModelError: a file can't be fetched.
    """
    if source.folder:
        return source.folder
    folder = models / source.name
    for file in source.files.values():
        download(file, folder, progress)
    return folder


def prepare(source: ModelSource, models: Path, progress: Progress | None = None) -> PreparedModel:
    """The model as a verified ONNX file under `models`, downloaded and converted if it isn't there yet.

    :raises ModelError: a file can't be fetched, or isn't what it should be.
    :raises DarknetError: the network can't be read.
    """
    stem = models / source.name / f"{source.name}-{_digest(source)}"
    onnx_path, manifest_path = (
        stem.with_name(f"{stem.name}.onnx"),
        stem.with_name(f"{stem.name}.json"),
    )
    changed = not _is_prepared(onnx_path, manifest_path)
    if changed:
        _convert(source, pull(source, models, progress), onnx_path, manifest_path)
    labels = json.loads(manifest_path.read_text("utf-8"))["labels"]
    return PreparedModel(source.name, onnx_path, labels, source.golden, changed)


def _digest(source: ModelSource) -> str:
    parts = {part: file.sha256 for part, file in source.files.items()}
    identity = json.dumps([CONVERTER_VERSION, source.input_size, parts], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def _is_prepared(onnx_path: Path, manifest_path: Path) -> bool:
    if not onnx_path.is_file() or not manifest_path.is_file():
        return False
    manifest = json.loads(manifest_path.read_text("utf-8"))
    return onnx_path.stat().st_size == manifest["size"] and file_sha256(onnx_path) == manifest["sha256"]


def _convert(source: ModelSource, folder: Path, onnx_path: Path, manifest_path: Path) -> None:
    paths = {part: folder / file.name for part, file in source.files.items()}
    for part, path in paths.items():
        _verify(path, source.files[part])
    labels = _labels(paths["names"])
    sections = parse_config(_text(paths["cfg"]), paths["cfg"].name)
    model = build_model(sections, Weights(paths["weights"]), labels, source.input_size)
    data = model.SerializeToString()
    manifest = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "labels": labels}
    onnx_path.parent.mkdir(parents=True, exist_ok=True)
    # The manifest last: without it the ONNX file counts as not there.
    _write(onnx_path, data)
    _write(manifest_path, json.dumps(manifest, indent=1).encode())


def _verify(path: Path, file: ModelFile) -> None:
    found = file_sha256(path)
    if found != file.sha256:
        raise ModelError(f"{path} changed: sha256 {found}, expected {file.sha256}")


def _text(path: Path) -> str:
    """The text in `path`, without the mark that Windows' editors put first."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is no UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None


def _labels(path: Path) -> list[str]:
    labels = [line.strip() for line in _text(path).splitlines() if line.strip()]
    if not labels:
        raise ModelError(f"{path} has no names, expected one a line")
    return labels


def _write(path: Path, data: bytes) -> None:
    """Writes `data` so that `path` is either whole or what it was before."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(0o644)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
