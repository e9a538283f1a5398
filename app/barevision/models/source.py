"""A model as its author made it: its files, and what it takes to serve them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

from barevision.errors import ModelError
from barevision.models.golden import Golden

#: A model's name, which is a folder's in the models directory.
NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}", re.ASCII)

# Measured with ONNX Runtime, fp32: resident memory is about 3.2 times the weights (829 MB for YOLOv3's 248 MB), on top
# of Python and the libraries.
_MEMORY_FACTOR = 3.2
_MEMORY_BASE = 150 * 2**20
# Decoding a picture was seen to take at most 18.7 bytes a pixel (a 16-bit PNG with transparency); this leaves room. A
# JPEG takes 4 to 12. The memory comes back between two pictures because the systemd unit sets MALLOC_MMAP_THRESHOLD_.
_MEMORY_PER_PIXEL = 22


@dataclass(frozen=True)
class ModelFile:
    """One file of a model.

    :ivar size: in bytes, or None where nobody knows it beforehand.
    :ivar sha256: of its content, or None where nobody vouches for it.
    :ivar urls: where it can be downloaded, the best address first; empty for files that are on this machine.
    """

    name: str
    size: int | None
    sha256: str | None
    urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelSource:
    """A model as its author made it.

    :ivar files: by part: "cfg", "weights" and "names", or "onnx" alone.
    :ivar folder: where the files are; None if they are downloaded into the models directory.
    :ivar input_size: (height, width) in pixels; None for what the file says.
    :ivar pin: the SHA-256 that the user gave for the file with the weights, or None.
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
    def url(self) -> str | None:
        """The address of a model that is one file from an address, else None."""
        return self.network.urls[0] if "onnx" in self.files and self.network.urls else None

    @property
    def verified(self) -> bool:
        """Whether the content of every file is known beforehand."""
        return all(file.sha256 for file in self.files.values())

    def with_network(self, **changes: object) -> ModelSource:
        """The same model with another size or sha256 of the file with the weights."""
        part = "onnx" if "onnx" in self.files else "weights"
        return replace(self, files={**self.files, part: replace(self.network, **changes)})

    def requirements(self, pixels: int) -> tuple[int | None, int | None]:
        """How many bytes the model takes on the disk, with its prepared form, and in the serving process's memory.

        Both are None where nobody knows how large the model is.

        :param pixels: how many pixels of pictures the process may have in hand at once.
        """
        sizes = [file.size for file in self.files.values()]
        if None in sizes:
            return None, None
        weights = self.network.size
        memory = _MEMORY_BASE + _MEMORY_FACTOR * weights + _MEMORY_PER_PIXEL * pixels
        return sum(sizes) + weights, round(memory)


def folder_source(folder: Path, description: str) -> ModelSource:
    """The model in `folder`: one file each of ``.cfg``, ``.weights`` and ``.names``, or one ``.onnx``.

    :raises ModelError: a file is missing, there are two of a kind, or golden.jpg is there without golden.json.
    """
    is_onnx = any(folder.glob("*.onnx")) and not any(folder.glob("*.cfg"))
    files = {}
    for part in ("onnx",) if is_onnx else ("cfg", "weights", "names"):
        paths = sorted(path for path in folder.glob(f"*.{part}") if path.is_file())
        if len(paths) != 1:
            names = ", ".join(path.name for path in paths) or "none"
            raise ModelError(f"{folder}: expected exactly one .{part} file, found {names}")
        files[part] = _local_file(paths[0])
    return ModelSource(folder.name, description, files, folder, golden=Golden.in_folder(folder))


def file_source(path: Path) -> ModelSource:
    """The model in the ``.onnx`` file `path`."""
    return ModelSource(path.stem, f"Your own model {path}", {"onnx": _local_file(path)}, path.parent)


def _local_file(path: Path) -> ModelFile:
    return ModelFile(path.name, path.stat().st_size, file_sha256(path))


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
