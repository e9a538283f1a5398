"""The networks and pictures that everybody is measured with."""

from __future__ import annotations

import math
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from barevision.darknet.config import Section, parse_config
from barevision.darknet.graph import build_model
from barevision.errors import ModelError
from barevision.models.catalogue import find_source
from barevision.models.prepare import prepare
from barevision.pictures.decode import decode_image, encode_image
from barevision.settings import load_settings
from benchmarks.environments import BUILD, ROOT
from tests.support.assets import ASSETS

MODELS = BUILD / "models"
_EXPORTS = ROOT / "build" / "exports" / "bin" / "python"


class MissingError(Exception):
    """A network, an environment or a tool that a measurement needs isn't there; the message says how to get it."""


@dataclass(frozen=True)
class Network:
    """What contestants load.

    :ivar reference: what Barevision calls it: a folder or an .onnx file, or a name of the catalogue.
    :ivar path: the prepared ONNX file. labels, head and size (height, width) say what its output means.
    :ivar darknet: the .cfg and the .weights, or None if it isn't Darknet's.
    :ivar weights: "real", or "random": made here, of the right length, with the seed 0.
    """

    name: str
    reference: str
    path: Path
    labels: list[str]
    head: dict[str, str]
    size: tuple[int, int]
    darknet: tuple[Path, Path] | None
    weights: str


def made(name: str) -> Network:
    """The network `name` of `NETWORKS`, made and prepared if it isn't there yet.

    :raises MissingError: it can't be had here.
    """
    reference, weights = _MAKERS[name](name)
    try:
        source = find_source(reference, MODELS)
        prepared = prepare(source, MODELS)
    except ModelError as error:
        raise MissingError(f"{name}: {error}") from error
    folder, files = source.folder, source.files
    darknet = (folder / files["cfg"].name, folder / files["weights"].name) if "cfg" in files else None
    return Network(
        name,
        reference,
        prepared.path,
        prepared.labels,
        asdict(prepared.head),
        _input_size(prepared.path),
        darknet,
        weights,
    )


def quantized(network: Network) -> Network:
    """`network` with int8, of `barevision models quantize` and the tests' pictures.

    :raises MissingError: it can't be made here, or loses too much.
    """
    folder = MODELS / "quantized" / f"{network.name}-{network.weights}-int8"
    if not folder.is_dir():
        command = [sys.executable, "-m", "barevision", "models", "quantize", network.reference]
        command += ["--models-dir", MODELS, "--output", folder, "--calibration", ASSETS / "calibration"]
        command += ["--pictures", ASSETS / "coco64" / "images", "--labels", ASSETS / "coco64" / "labels"]
        print(f"quantizing {network.name}", flush=True)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise MissingError(f"{network.name} with int8: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    prepared = prepare(find_source(str(folder), MODELS), MODELS)
    return replace(network, reference=str(folder), path=prepared.path)


def _input_size(path: Path) -> tuple[int, int]:
    import onnx

    dimensions = onnx.load(path, load_external_data=False).graph.input[0].type.tensor_type.shape.dim
    return dimensions[2].dim_value, dimensions[3].dim_value


def _roadsigns(name: str) -> tuple[str, str]:
    return "roadsigns", "real"


def _yolo_fastest(name: str) -> tuple[str, str]:
    return _darknet(name, "yolo-fastest-1.1-xl", 320, is_random_allowed=False)


def _yolov3(name: str) -> tuple[str, str]:
    return _darknet(name, name.rpartition("-")[0], 416, is_random_allowed=True)


def _darknet(name: str, model: str, side: int, is_random_allowed: bool) -> tuple[str, str]:
    """A folder called `name` with the network `model` of the catalogue, its input of `side` pixels."""
    cfg = _found(model, f"{model}.cfg")
    weights = _found(model, f"{model}.weights")
    if not cfg or not (weights or is_random_allowed):
        raise MissingError(f"{name}: 'barevision models pull {model}' fetches it")
    kind = "real" if weights else "random"
    folder = MODELS / "sources" / f"{name}-{kind}"
    if not (folder / "coco.names").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        # The tutorial and OpenCV take the input's size from the .cfg or none at all.
        text = _with_side(cfg.read_text("utf-8"), side)
        (folder / f"{model}.cfg").write_text(text)
        if weights:
            shutil.copyfile(weights, folder / f"{model}.weights")
        else:
            write_random_weights(text, folder / f"{model}.weights")
        names = _found(model, "coco.names") or ASSETS / "models" / "coco.names"
        shutil.copyfile(names, folder / "coco.names")
    return str(folder), kind


def _found(model: str, file: str) -> Path | None:
    """A file of the catalogue's `model`, from the user's own models directory or the tests' assets."""
    folders = (load_settings().models_dir / model, ASSETS / "models" / model, ASSETS / "models" / "cfg")
    return next((folder / file for folder in folders if (folder / file).is_file()), None)


def _with_side(cfg: str, side: int) -> str:
    lines = [
        f"{line.partition('=')[0].strip()}={side}" if line.partition("=")[0].strip() in ("width", "height") else line
        for line in cfg.splitlines()
    ]
    return "\n".join(lines) + "\n"


class _RandomWeights:
    """Stands in for `Weights`: numbers with which a picture's signal neither fades nor explodes, written as taken.

    A kernel's deviation is the square root of 1 / inputs: with 2, YOLOv3's sums of features would explode. What detects
    answers confidences near 0.02, so that as much is left to select as on a picture without objects.
    """

    source = "random numbers"

    def __init__(self, path: Path) -> None:
        self._random, self._file = np.random.default_rng(0), path.open("wb")
        self._file.write(struct.pack("<3iq", 0, 2, 5, 0))

    def take(self, count: int, section: Section, what: str) -> np.ndarray:
        detects = not section.integer("batch_normalize", 0)
        if what == "the kernel":
            inputs = count / section.integer("filters")
            values = self._random.normal(0, math.sqrt(1 / inputs) * (0.01 if detects else 1), count)
        elif what in ("the batch norm scales", "the batch norm variances"):
            values = np.ones(count)
        else:
            values = np.full(count, -4.0 if detects else 0.0)
        values = values.astype("<f4")
        self._file.write(values.tobytes())
        return values

    def finish(self) -> None:
        self._file.close()


def write_random_weights(cfg: str, path: Path) -> None:
    """A .weights file at `path` as long as the network of the text `cfg` wants it, the same every time."""
    build_model(parse_config(cfg, path.name), _RandomWeights(path))


def _yolo11n(name: str) -> tuple[str, str]:
    """Ultralytics' own export, with their weights if these can be fetched."""
    # Its seed is part of the name: the file is made once.
    for path, kind in (
        (MODELS / "sources" / f"{name}.onnx", "real"),
        (MODELS / "sources" / f"{name}-random.onnx", "random"),
    ):
        if path.is_file():
            return str(path), kind
    if not _EXPORTS.is_file():
        raise MissingError(
            f"{name}: 'make build/exports/.ready' makes the environment that exports it (PyTorch, a gigabyte)"
        )
    folder = MODELS / "sources"
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([_EXPORTS, "-c", _EXPORT, name], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MissingError(f"{name}: Ultralytics' export failed: {done.stderr.strip().splitlines()[-1:]}")
    return _yolo11n(name)


_EXPORT = """
import sys, torch
from pathlib import Path
from ultralytics import YOLO
torch.manual_seed(0)
try:
    model, ending = YOLO("yolo11n.pt"), ""
except Exception:
    model, ending = YOLO("yolo11n.yaml"), "-random"
Path(model.export(format="onnx", imgsz=640)).rename(f"{sys.argv[1]}{ending}.onnx")
"""

_MAKERS: dict[str, Callable[[str], tuple[str, str]]] = {
    "yolov3-416": _yolov3,
    "yolov3-tiny-416": _yolov3,
    "yolo-fastest-1.1-xl-320": _yolo_fastest,
    "yolo11n-640": _yolo11n,
    "roadsigns-320": _roadsigns,
}
#: All that can be asked for. `roadsigns` comes with Barevision; it stands in where nothing else is there.
NETWORKS = tuple(_MAKERS)

#: (height, width) in pixels of the pictures.
PICTURES = {"640x480": (480, 640), "12 megapixels": (3000, 4000)}


def picture(name: str) -> Path:
    """A JPEG of that size: the drawn scene of the embedded model, with the noise of a camera's sensor."""
    height, width = PICTURES[name]
    path = BUILD / "pictures" / f"{width}x{height}.jpg"
    if not path.is_file():
        scene = decode_image(find_source("roadsigns").golden.picture, 10**8)
        image = cv2.resize(scene, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        image += np.random.default_rng(0).normal(0, 4, image.shape)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(np.clip(image, 0, 255).astype(np.uint8), ".jpg"))
    return path
