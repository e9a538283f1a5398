"""What a name, a folder, a file or an address stands for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from barevision.errors import ModelError
from barevision.models.catalogue import catalogue_names, find_source
from tests.support.darknet_files import write_model

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
        for part, path in {"cfg": f"cfg/{name}.cfg", "names": "coco.names"}.items():
            data = (assets / "models" / path).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (files[part].size, files[part].sha256)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("yolov3#sha256=" + "0" * 64, "the catalogue has sha256 523e4e69"),
        ("roadsigns#sha256=" + "0" * 64, "a sha256 is for models that are downloaded"),
        ("https://example.org/best.pt", "names no .onnx file"),
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
    for golden in ("golden.jpg", "golden.json"):
        (folder / golden).write_text("[]")
    is_file = Path.is_file

    def take_away_what_was_seen(path: Path) -> bool:
        found = is_file(path)
        if path.name == name:
            path.unlink()
        return found

    monkeypatch.setattr(Path, "is_file", take_away_what_was_seen)

    with pytest.raises(ModelError, match=rf"mine can't be read: .*{name}"):
        find_source(str(folder))
