"""Preparing: from a model's files to one verified ONNX file that every engine loads.

For any model, ``<models>/<name>/`` holds ``<name>-<digest>.onnx``, and beside it ``<name>-<digest>.json`` with its
size, its sha256, its labels and what its output means. The digest covers the source files, the input size and the
converter's version: a release never loads what another release prepared differently, and going back to a release finds
its own.
``<name>-<digest>.speed.json`` says how fast it is and how it is run on this machine (choosing/speeds.py).
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from barevision.darknet import CONVERTER_VERSION
from barevision.detection.network_output import Head
from barevision.errors import ModelError
from barevision.models import READER_VERSION
from barevision.models.files import write_whole
from barevision.models.golden import Golden
from barevision.models.network import Network
from barevision.models.source import ModelSource, Progress, file_sha256


@dataclass(frozen=True)
class PreparedModel:
    """A network ready to be loaded.

    :ivar path: a verified ONNX file.
    :ivar changed: whether this call of `prepare` made it.
    :ivar head: what the network's output means, and how images are fitted to its input.
    :ivar quantized: whether the network computes with int8 and nothing else.
    """

    name: str
    path: Path
    labels: list[str]
    golden: Golden | None
    changed: bool
    head: Head
    quantized: bool = False


def prepared_path(source: ModelSource, models: Path) -> Path:
    """Where the prepared ONNX file of `source` is, or would be."""
    version = READER_VERSION if "onnx" in source.files else CONVERTER_VERSION
    parts = {part: file.sha256 for part, file in source.files.items()}
    identity = json.dumps([version, source.input_size, parts], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return models / source.name / f"{source.name}-{digest}.onnx"


def is_prepared(source: ModelSource, models: Path) -> bool:
    """Whether `prepare` would have nothing to do. Does not read the files."""
    path = prepared_path(source, models)
    return source.verified and path.is_file() and path.with_suffix(".json").is_file()


def prepare(source: ModelSource, models: Path, progress: Progress | None = None) -> PreparedModel:
    """The model as a verified ONNX file under `models`, downloaded and converted if it isn't there yet.

    :raises ModelError: a file can't be fetched or read, isn't what it should be, or can't be written.
    """
    path = prepared_path(source, models)
    meaning = _read_manifest(path)
    if meaning is not None:
        labels, head, quantized = meaning
        return PreparedModel(source.name, path, labels, source.golden, False, head, quantized)
    if path.exists() and not os.access(path.parent, os.W_OK):
        raise ModelError(
            f"{path} is damaged: it, or the .json beside it, is not as it was written. Whoever may write there makes "
            "it again with 'barevision models prepare'; a deployment's next run does."
        )
    # Imported here because a service whose model is prepared needs neither ONNX nor requests, which take 12 MB.
    from barevision.models.convert import convert
    from barevision.models.store import pull

    network = convert(source, pull(source, models, progress))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The manifest comes last: without it the ONNX file counts as not there.
        write_whole(path, network.data)
        write_whole(path.with_suffix(".json"), json.dumps(_manifest(network), indent=1).encode())
    except OSError as error:
        raise ModelError(
            f"{source.name} can't be prepared in {models}: {error}. Whoever may write there prepares it "
            "with 'barevision models prepare'."
        ) from error
    return PreparedModel(source.name, path, network.labels, source.golden, True, network.head, network.quantized)


def _manifest(network: Network) -> dict[str, Any]:
    """What is written beside a prepared network: its size and its meaning, and the SHA-256 of it and of its meaning."""
    meaning = {"labels": network.labels, "head": asdict(network.head), "quantized": network.quantized}
    return {
        "size": len(network.data),
        "sha256": hashlib.sha256(network.data).hexdigest(),
        "meaning_sha256": _meaning_sha256(meaning),
        **meaning,
    }


def _meaning_sha256(manifest: dict[str, Any]) -> str:
    """The SHA-256 of a manifest's meaning, as JSON: a wrong label is as wrong as a wrong weight."""
    meaning = json.dumps([manifest["labels"], manifest["head"], manifest["quantized"]], sort_keys=True)
    return hashlib.sha256(meaning.encode()).hexdigest()


class _Meaning(NamedTuple):
    """As in `PreparedModel`."""

    labels: list[str]
    head: Head
    quantized: bool


def _read_manifest(path: Path) -> _Meaning | None:
    """What the prepared model at `path` means; None if it isn't there or isn't as it was written."""
    try:
        manifest = json.loads(path.with_suffix(".json").read_text("utf-8"))
        meaning = _Meaning(manifest["labels"], Head(**manifest["head"]), manifest["quantized"])
        is_whole = (
            path.stat().st_size == manifest["size"]
            and file_sha256(path) == manifest["sha256"]
            and _meaning_sha256(manifest) == manifest["meaning_sha256"]
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return meaning if is_whole else None
