"""What a name, a folder, a file or an address stands for."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from barevision.detector import load_detector
from barevision.engines import ENGINES
from barevision.errors import ModelError
from barevision.models.catalogue import catalogue_names, find_source
from barevision.pictures.decode import decode_image
from barevision.settings import load_settings
from tests.support.assets import model_folder
from tests.support.darknet_files import write_model
from training.coco import golden

_UNVERIFIED = {"yolov4-csp", "yolov2-tiny"}


def test_the_catalogue_is_complete() -> None:
    assert catalogue_names()[:3] == ["roadsigns", "yolov3", "yolov3-tiny"]
    for name in catalogue_names()[1:]:
        source = find_source(name)
        assert set(source.files) == {"cfg", "weights", "names"}
        assert all(side % 32 == 0 for side in source.input_size)
        assert source.licence
        assert source.verified == (name not in _UNVERIFIED)
        for part, file in source.files.items():
            assert file.sha256 is None if part == "weights" and name in _UNVERIFIED else file.sha256
            assert re.fullmatch("[0-9a-f]{64}", file.sha256 or "0" * 64)
            assert len(file.urls) > 1 or not source.verified
            assert all(url.startswith("https://") for url in file.urls)


def test_the_catalogues_small_files_are_the_real_ones(assets: Path) -> None:
    import hashlib

    for name in catalogue_names()[1:]:
        files = find_source(name).files
        folder = f"{name}/{name}" if name.startswith("yolo-fastest") else f"cfg/{name}"
        paths = {"cfg": f"{folder}.cfg", "weights": f"{folder}.weights", "names": "coco.names"}
        for part, path in paths.items():
            if part == "weights" and not name.startswith("yolo-fastest"):
                continue
            data = (assets / "models" / path).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (files[part].size, files[part].sha256)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["yolo-fastest-1.1", "yolo-fastest-1.1-xl"])
def test_a_model_of_the_catalogue_brings_its_golden_answer(
    assets: Path, tmp_path: Path, name: str, engine: str
) -> None:
    """Pulling finds the files where a download would put them."""
    model_folder(assets, name, tmp_path)
    detector = load_detector(load_settings(model=name, models_dir=tmp_path, engine=engine))
    assert sorted(item.label for item in detector.model.golden.expected) == ["stop sign", "traffic light"]
    assert "2 boxes were found" in detector.check()
    golden.ask(detector, detector.model.golden.picture)
    assert find_source(f"{name}@416").golden is None


def test_the_golden_picture_of_the_catalogue_is_what_was_drawn() -> None:
    picture = find_source("yolo-fastest-1.1").golden.picture
    drawn, packed = (decode_image(data, 100_000).astype(int) for data in (golden.draw(), picture))
    # Another version of the encoder may round otherwise.
    assert np.abs(drawn - packed).mean() < 2
    assert len(picture) < 8000


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("yolov3#sha256=" + "0" * 64, "the catalogue has sha256 523e4e69"),
        ("roadsigns#sha256=" + "0" * 64, "a sha256 is for models that are downloaded"),
        ("https://example.org/best.pt", "best.pt is a PyTorch file.*'yolo export model=best.pt format=onnx'"),
        ("https://example.org/best.weights", "names no .onnx file"),
        ("https:///best.onnx", "names no .onnx file"),
        ("https://[::1/best.onnx", "is not an address"),
        ("https://user:secret@example.org/best.onnx", "has a password in it"),
        ("https://example.org/yolov3.onnx", "can't be called 'yolov3'.*none of the catalogue's"),
        ("https://example.org/..%2f..%2f.onnx", "can't be called ''"),
        ("x" * 5000, "unknown model"),
        ("a\0b", "unknown model"),
    ],
)
def test_a_model_that_cannot_be_had_is_refused_with_the_reason(model: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words) as raised:
        find_source(model, tmp_path)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("best.pt", "a PyTorch file.*'yolo export model=best.pt format=onnx'"),
        ("Best.PT", "a PyTorch file.*'yolo export model=Best.PT format=onnx'"),
        ("yolox_s.pth", "a PyTorch file.*'python tools/export_onnx.py -c yolox_s.pth'"),
        ("best.engine", "a TensorRT engine.*'yolo export model=best.pt format=onnx'"),
        ("best_float32.tflite", "a TensorFlow Lite network.*format=onnx"),
        ("best.mlmodel", "a Core ML network.*format=onnx"),
        ("best_openvino_model/best.xml", "a folder with an OpenVINO network.*format=onnx"),
        ("best.mlpackage/Manifest.json", "a Core ML network.*format=onnx"),
        ("weights/best.pt", "weights/best.pt is a PyTorch file"),
    ],
)
def test_what_has_to_be_converted_first_is_refused_with_the_way(tmp_path: Path, file: str, words: str) -> None:
    path = tmp_path / "run" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK")
    for model in (tmp_path / "run", tmp_path / "run" / Path(file).parts[0]):
        if model.is_dir() or len(Path(file).parts) == 1:
            with pytest.raises(ModelError, match=f"{words}"):
                find_source(str(model), tmp_path)


def test_a_run_whose_network_is_in_a_folder_of_it_says_so(tmp_path: Path) -> None:
    for name in ("args.yaml", "weights/best.pt", "weights/best.onnx"):
        (tmp_path / "run" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "run" / name).touch()
    with pytest.raises(ModelError, match=r"run has no network itself; ask for .*run/weights/best\.onnx"):
        find_source(str(tmp_path / "run"))


def test_a_part_of_a_darknet_network_is_refused_with_the_way(tmp_path: Path) -> None:
    path = write_model(tmp_path / "mine") / "net.weights"
    with pytest.raises(ModelError, match=r"part of a Darknet network: put \.cfg, \.weights and \.names into a folder"):
        find_source(str(path))


def test_endings_are_compared_without_case(tmp_path: Path) -> None:
    (tmp_path / "BEST.ONNX").touch()
    (tmp_path / "BEST.NAMES").touch()
    for model in (tmp_path, tmp_path / "BEST.ONNX"):
        assert {part: file.name for part, file in find_source(str(model)).files.items()} == {
            "onnx": "BEST.ONNX",
            "names": "BEST.NAMES",
        }
    folder = write_model(tmp_path / "mine")
    (folder / "net.cfg").rename(folder / "NET.CFG")
    assert find_source(str(folder)).files["cfg"].name == "NET.CFG"
    assert find_source("https://example.org/BEST.ONNX", tmp_path).name == "BEST"


def test_a_folder_whose_name_looks_like_a_size_is_that_folder(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine@64")
    assert find_source(str(folder)).name == "mine@64"
    assert find_source(f"{folder}@128x64").input_size == (64, 128)


def test_an_unknown_model_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"unknown model .yolo12.: .* roadsigns, yolov3"):
        find_source("yolo12")


@pytest.mark.parametrize("name", ["net.weights", "golden.jpg"])
def test_a_file_that_goes_while_it_is_looked_at_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = write_model(tmp_path / "mine")
    for file in ("golden.jpg", "golden.json"):
        (folder / file).write_text("[]")
    is_file = Path.is_file

    def take_away_what_was_seen(path: Path) -> bool:
        found = is_file(path)
        if path.name == name:
            path.unlink()
        return found

    monkeypatch.setattr(Path, "is_file", take_away_what_was_seen)

    with pytest.raises(ModelError, match=rf"mine can't be read: .*{name}"):
        find_source(str(folder))
