"""The models directory: downloaded files, and the ONNX files prepared from them.

``<models>/<name>/`` holds a downloaded model's files and, for any model, ``<name>-<digest>.onnx`` with a
``<name>-<digest>.json`` beside it that has its size, its sha256 and what its answers mean. The digest covers the source
files, the input size and the converter's version, so that a release never loads what another release prepared
differently, and rolling back finds its own. ``source.json`` has the address and the sha256 that the user gave,
``<name>-<digest>.seconds.json`` how long an inference takes on this machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from barevision.darknet.config import parse_config
from barevision.darknet.graph import CONVERTER_VERSION, build_model
from barevision.darknet.weights import Weights
from barevision.detection.network_output import Head
from barevision.errors import ModelError
from barevision.models.catalogue import EMBEDDED, PINNED, ModelFile, ModelSource, file_sha256
from barevision.models.download import Progress, download, is_fetched_into
from barevision.models.golden import Golden
from barevision.models.onnx_file import READER_VERSION, Exported, read_exported

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
    """A network ready to be loaded: `path` is a verified ONNX file; `changed` says that this call made it.

    :ivar head: what the network's answer means, and how pictures are fitted to its input.
    """

    name: str
    path: Path
    labels: list[str]
    golden: Golden | None
    changed: bool
    head: Head = field(default_factory=Head)


def requirements(source: ModelSource, pixels: int) -> tuple[int | None, int | None]:
    """What a model takes, in bytes, as (disk, memory): its files and the ONNX file; the serving process.

    Both None where nobody knows how large the model is.

    :param pixels: how many pixels of pictures the process may have in hand at once.
    """
    sizes = [file.size for file in source.files.values()]
    if None in sizes:
        return None, None
    weights = source.network.size
    return sum(sizes) + weights, round(_MEMORY_BASE + _MEMORY_FACTOR * weights + _MEMORY_PER_PIXEL * pixels)


def pull(source: ModelSource, models: Path, progress: Progress | None = None) -> Path:
    """The folder with the model's files, downloaded into `models` where they are missing there.

    The hash that the user gave is remembered once the file was seen to have it.

    :raises ModelError: a file can't be fetched.
    """
    if source.folder:
        return source.folder
    folder = models / source.name
    try:
        # The weights first: without their sha256, nothing is fetched.
        for file in sorted(source.files.values(), key=lambda file: file is not source.network):
            download(file, folder, progress)
        if source.pin:
            _remember(source, folder)
    except OSError as error:
        raise ModelError(f"{source.name} can't be fetched into {models}: {error}") from error
    return folder


def _remember(source: ModelSource, folder: Path) -> None:
    url = source.network.urls[0] if "onnx" in source.files else None
    data = (json.dumps({"url": url, "sha256": source.pin}, indent=1) + "\n").encode()
    path = folder / PINNED
    if not path.is_file() or path.read_bytes() != data:
        _write(path, data)


def prepare(source: ModelSource, models: Path, progress: Progress | None = None) -> PreparedModel:
    """The model as a verified ONNX file under `models`, downloaded and converted if it isn't there yet.

    :raises ModelError: a file can't be fetched, isn't what it should be, or can't be written.
    :raises DarknetError: the network can't be read.
    """
    onnx_path, manifest_path = _paths(source, models)
    found = _intact(onnx_path, manifest_path)
    labels, head = found or _convert(source, pull(source, models, progress), onnx_path, manifest_path)
    return PreparedModel(source.name, onnx_path, labels, source.golden, found is None, head)


def is_prepared(source: ModelSource, models: Path) -> bool:
    """Whether `prepare` would have nothing to do. Doesn't read the files."""
    return source.verified and all(path.is_file() for path in _paths(source, models))


def is_downloaded(source: ModelSource, models: Path) -> bool:
    """Whether all files are there; under its name a file only ever is once it was verified."""
    folder = source.folder or models / source.name
    return source.verified and all((folder / file.name).is_file() for file in source.files.values())


def measured_seconds(source: ModelSource, models: Path, how: str) -> float | None:
    """How long an inference took on this machine when it was last measured, `how` being what runs it; or None."""
    try:
        return float(json.loads(_seconds_path(source, models).read_text("utf-8"))[how])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember_seconds(source: ModelSource, models: Path, how: str, value: float) -> None:
    """Notes how long an inference takes. A models directory that can't be written to stays as it is."""
    path = _seconds_path(source, models)
    try:
        known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        _write(path, json.dumps({**known, how: value}).encode())
    except (OSError, ValueError, TypeError):
        return


def remove(source: ModelSource, models: Path) -> list[Path]:
    """Removes what was downloaded and prepared of a model, and says what: never a user's own files.

    :raises ModelError: the model is part of Barevision, or is being fetched.
    """
    if source.name == EMBEDDED:
        raise ModelError(f"{EMBEDDED} comes with Barevision and can't be removed")
    folder = models / source.name
    if source.folder and source.folder.is_relative_to(folder.resolve()):
        raise ModelError(f"{source.folder} is your own folder inside of the models directory; remove it yourself")
    if not folder.is_dir():
        return []
    if is_fetched_into(folder):
        raise ModelError(f"{source.name} is being fetched by another process; wait for it, or stop it")
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.endswith(".lock"))
    prepared = [path for path in files if path.name.startswith(f"{source.name}-") and path.suffix in (".onnx", ".json")]
    removed = prepared if source.folder else files
    for path in removed:
        path.unlink()
    # What somebody else put here stays.
    if not any(not path.name.endswith(".lock") for path in folder.iterdir()):
        shutil.rmtree(folder)
    return removed


def _paths(source: ModelSource, models: Path) -> tuple[Path, Path]:
    """Where the prepared model and its manifest are, or would be."""
    stem = models / source.name / f"{source.name}-{_digest(source)}"
    return stem.with_name(f"{stem.name}.onnx"), stem.with_name(f"{stem.name}.json")


def _seconds_path(source: ModelSource, models: Path) -> Path:
    return models / source.name / f"{source.name}-{_digest(source)}.seconds.json"


def _digest(source: ModelSource) -> str:
    version = READER_VERSION if "onnx" in source.files else CONVERTER_VERSION
    parts = {part: file.sha256 for part, file in source.files.items()}
    identity = json.dumps([version, source.input_size, parts], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def _intact(onnx_path: Path, manifest_path: Path) -> tuple[list[str], Head] | None:
    """Labels and head of the prepared model, if both files are as they were written."""
    try:
        manifest = json.loads(manifest_path.read_text("utf-8"))
        # Manifests of releases that knew one form of head say nothing of it.
        labels, head = manifest["labels"], Head(**manifest.get("head", {}))
        is_whole = onnx_path.stat().st_size == manifest["size"] and file_sha256(onnx_path) == manifest["sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return (labels, head) if is_whole else None


def _convert(source: ModelSource, folder: Path, onnx_path: Path, manifest_path: Path) -> tuple[list[str], Head]:
    paths = {part: folder / file.name for part, file in source.files.items()}
    for part, path in paths.items():
        _verify(path, source.files[part])
    network = read_exported(paths["onnx"], source.input_size) if "onnx" in paths else _darknet(paths, source)
    manifest = {
        "size": len(network.data),
        "sha256": hashlib.sha256(network.data).hexdigest(),
        "labels": network.labels,
        "head": asdict(network.head),
    }
    try:
        onnx_path.parent.mkdir(parents=True, exist_ok=True)
        # The manifest last: without it the ONNX file counts as not there.
        _write(onnx_path, network.data)
        _write(manifest_path, json.dumps(manifest, indent=1).encode())
    except OSError as error:
        raise ModelError(
            f"{source.name} can't be prepared in {onnx_path.parents[1]}: {error}. Whoever may write there prepares it "
            "with 'barevision models prepare'."
        ) from error
    return network.labels, network.head


def _darknet(paths: dict[str, Path], source: ModelSource) -> Exported:
    labels = _labels(paths["names"])
    sections = parse_config(_text(paths["cfg"]), paths["cfg"].name)
    model = build_model(sections, Weights(paths["weights"]), labels, source.input_size)
    return Exported(model.SerializeToString(), labels, Head())


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
