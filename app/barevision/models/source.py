"""A model as its author made it: its files, and what it takes to serve them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from barevision.errors import ModelError
from barevision.models.golden import Golden
from barevision.models.names import names_beside

#: Called with (file name, bytes there, bytes in all or None where the server doesn't say) as a download proceeds.
Progress = Callable[[str, int, int | None], None]

#: A model's name, which is a folder's in the models directory.
NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}", re.ASCII)

# Measured with ONNX Runtime, fp32: resident memory is about 3.2 times the weights (829 MB for YOLOv3's 248 MB), on top
# of Python and the libraries.
_MEMORY_FACTOR = 3.2
_MEMORY_BASE = 150 * 2**20
# Decoding a picture was seen to take at most 18.7 bytes a pixel (a 16-bit PNG with transparency); this leaves room. A
# JPEG takes 4 to 12. The memory comes back between two pictures because the systemd unit sets MALLOC_MMAP_THRESHOLD_.
_MEMORY_PER_PIXEL = 22

# What people have instead of an .onnx file, by how its name ends.
_PYTORCH = {
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
    ".ckpt": "a PyTorch checkpoint",
    ".safetensors": "a file of weights alone",
}
_OTHER_FORMATS = {
    ".torchscript": "a TorchScript network",
    ".engine": "a TensorRT engine, which runs on one kind of GPU alone",
    ".trt": "a TensorRT engine, which runs on one kind of GPU alone",
    ".tflite": "a TensorFlow Lite network",
    ".pb": "a TensorFlow network",
    ".h5": "a Keras network",
    ".keras": "a Keras network",
    ".mlmodel": "a Core ML network",
    ".mlpackage": "a Core ML network",
    ".pdmodel": "a PaddlePaddle network",
    ".pdparams": "a PaddlePaddle network",
    ".mnn": "an MNN network",
    ".rknn": "an RKNN network",
    ".caffemodel": "a Caffe network",
    "_openvino_model": "a folder with an OpenVINO network",
    "_saved_model": "a folder with a TensorFlow network",
    "_ncnn_model": "a folder with an ncnn network",
    "_paddle_model": "a folder with a PaddlePaddle network",
    "_web_model": "a folder with a TensorFlow.js network",
}


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

    :ivar files: by part: "cfg", "weights" and "names", or "onnx", and "names" if they are beside it.
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
    paths = sorted(path for path in folder.glob("*") if path.is_file())
    endings = {path.suffix.lower() for path in paths}
    is_onnx = ".onnx" in endings and ".cfg" not in endings
    if not {".onnx", ".cfg", ".weights"} & endings:
        # Ultralytics' trainer writes its networks into the folder "weights" of a run's folder.
        for path in (folder, *sorted(folder.glob("*")), *sorted((folder / "weights").glob("*"))):
            if path.suffix.lower() == ".onnx":
                raise ModelError(f"{folder} has no network itself; ask for {path}")
            refuse_other_formats(path)
    files = {}
    for part in ("onnx",) if is_onnx else ("cfg", "weights", "names"):
        found = [path for path in paths if path.suffix.lower() == f".{part}"]
        if len(found) != 1:
            names = ", ".join(path.name for path in found) or "none"
            raise ModelError(f"{folder}: expected exactly one .{part} file, found {names}")
        files[part] = found[0]
    if is_onnx:
        files = onnx_files(files["onnx"])
    return ModelSource(folder.name, description, _local_files(files), folder, golden=Golden.in_folder(folder))


def file_source(path: Path) -> ModelSource:
    """The model in the ``.onnx`` file `path`, with the names of its classes if they are beside it."""
    return ModelSource(path.stem, f"Your own model {path}", _local_files(onnx_files(path)), path.parent)


def onnx_files(path: Path) -> dict[str, Path]:
    """The ``.onnx`` file `path`, and the file beside it that has its names if it doesn't have them itself."""
    names = names_beside(path)
    return {"onnx": path, "names": names} if names else {"onnx": path}


def refuse_other_formats(path: Path) -> None:
    """Raises `ModelError` if `path` is called like a network in a format that is not served, and says what to do."""
    name = path.name.lower()
    for ending, what in _PYTORCH.items():
        if name.endswith(ending):
            raise ModelError(
                f"{path} is {what}, which can't be served: it takes the code that made it to run it. Export it as ONNX "
                f"where it was trained: with Ultralytics' package 'yolo export model={path.name} format=onnx', with "
                f"YOLOv5 'python export.py --weights {path.name} --include onnx', with YOLOv7 'python export.py "
                f"--weights {path.name} --grid', with YOLOX 'python tools/export_onnx.py -c {path.name}'"
            )
    is_openvino = name.endswith(".xml") and path.with_suffix(".bin").is_file()
    for ending, what in {**_OTHER_FORMATS, ".xml": "an OpenVINO network"}.items():
        if name.endswith(ending) and (ending != ".xml" or is_openvino):
            raise ModelError(
                f"{path} is {what}, which can't be served. Export the network that it was made of as ONNX, with "
                "Ultralytics' package 'yolo export model=best.pt format=onnx'"
            )


def _local_files(paths: dict[str, Path]) -> dict[str, ModelFile]:
    return {part: ModelFile(path.name, path.stat().st_size, file_sha256(path)) for part, path in paths.items()}


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
