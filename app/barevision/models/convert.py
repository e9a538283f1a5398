"""From a model's files to its network."""

from __future__ import annotations

from pathlib import Path

from barevision.darknet.config import parse_config
from barevision.darknet.graph import build_model, input_fit
from barevision.darknet.weights import Weights
from barevision.detection.network_output import Head
from barevision.errors import ModelError
from barevision.models.names import read_names
from barevision.models.network import Network
from barevision.models.onnx_file import read_onnx_file
from barevision.models.source import ModelSource, file_sha256


def convert(source: ModelSource, folder: Path) -> Network:
    """The network in the files of `source` in `folder`, which have to be what they were when the model was asked for.

    :raises ModelError: a file can't be read, or isn't what it should be.
    """
    paths = {part: folder / file.name for part, file in source.files.items()}
    for part, path in paths.items():
        sha256 = file_sha256(path)
        if sha256 != source.files[part].sha256:
            raise ModelError(f"{path} changed: sha256 {sha256}, expected {source.files[part].sha256}")
    if "onnx" in paths:
        return read_onnx_file(paths["onnx"], source.input_size, paths.get("names"))
    labels = read_names(paths["names"])
    # Only comments are anything but ASCII, and people write them in their own language's encoding.
    sections = parse_config(paths["cfg"].read_bytes().decode("utf-8-sig", "replace"), paths["cfg"].name)
    model = build_model(sections, Weights(paths["weights"]), labels, source.input_size)
    return Network(model.SerializeToString(), labels, Head(fit=input_fit(sections)))
