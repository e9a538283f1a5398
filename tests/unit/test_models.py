"""Names, folders, and the ONNX files prepared from them."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from barevision.detector import load_detector
from barevision.engines import load_engine
from barevision.errors import DarknetError, ModelError, WrongAnswerError
from barevision.models.catalogue import catalogue_names, find_source
from barevision.models.prepare import prepare
from barevision.objects import Detection, differences
from barevision.settings import load_settings
from tests.support.darknet_files import TINY_CFG, write_model

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
        ("yolov3@", "'' in 'yolov3@' is not a size"),
        ("yolov3@big", "expected one like yolov3@608 or yolov3@640x384"),
        ("yolov3@0", "out of range, allowed are 1 to 4096"),
        ("yolov3@5000", "out of range"),
        ("yolov3@608x", "is not a size"),
        ("yolov3#sha256=abc", "'abc' is not a sha256"),
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
def test_what_can_not_be_asked_for(model: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words) as raised:
        find_source(model, tmp_path)
    assert "secret" not in str(raised.value)


def test_another_input_size_is_another_prepared_model_without_the_golden_answer(tmp_path: Path) -> None:
    assert find_source("yolov3@608").input_size == (608, 608)
    assert find_source("yolov3@640x384").input_size == (384, 640)
    folder = str(write_model(tmp_path / "mine"))
    own = prepare(find_source(folder), tmp_path / "models")
    other = prepare(find_source(f"{folder}@128x96"), tmp_path / "models")
    assert own.path != other.path
    assert load_engine("onnxruntime", other.path, 1).input_size == (96, 128)
    assert find_source("roadsigns@416").golden is None
    with pytest.raises(DarknetError, match="the input is 130x96: its sides must be divisible by 4"):
        prepare(find_source(f"{folder}@130x96"), tmp_path / "models")


def test_a_folder_whose_name_looks_like_a_size_is_that_folder(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine@64")
    assert find_source(str(folder)).name == "mine@64"
    assert find_source(f"{folder}@128x64").input_size == (64, 128)


def test_an_unknown_model_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"unknown model .yolo12.: .* roadsigns, yolov3"):
        find_source("yolo12")


def test_a_folder_needs_exactly_one_file_of_each_kind(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    (folder / "second.cfg").write_text("")
    with pytest.raises(ModelError, match=r"exactly one \.cfg file, found net.cfg, second.cfg"):
        find_source(str(folder))
    (folder / "second.cfg").unlink()
    (folder / "net.names").unlink()
    with pytest.raises(ModelError, match=r"exactly one \.names file, found none"):
        find_source(str(folder))


def test_a_folder_in_the_place_of_a_file_is_none(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    (folder / "net.names").unlink()
    (folder / "net.names").mkdir()
    with pytest.raises(ModelError, match=r"exactly one \.names file, found none"):
        find_source(str(folder))


def test_texts_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    for name in ("net.cfg", "net.names"):
        (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())
    assert prepare(find_source(str(folder)), tmp_path / "models").labels == ["cat", "dog"]


@pytest.mark.parametrize("name", ["net.cfg", "net.names"])
def test_texts_in_another_encoding_are_refused(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "mine")
    (folder / name).write_bytes((folder / name).read_bytes() + "# café\n".encode("latin-1"))
    with pytest.raises(ModelError, match=rf"{name} is not UTF-8 text .* save it as UTF-8"):
        prepare(find_source(str(folder)), tmp_path / "models")


@pytest.mark.parametrize("name", ["golden.jpg", "golden.json"])
def test_half_of_a_golden_answer_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "mine")
    (folder / name).write_text("[]")
    with pytest.raises(ModelError, match=f"has {name} alone"):
        find_source(str(folder))


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "null",
        "[1]",
        '{"a": 1}',
        '[{"label": "cat", "confidence": 0.5, "boxes": [1], "color": [1, 2, 3]}]',
        '[{"label": "cat", "confidence": NaN, "boxes": [1, 2, 3, 4], "color": [1, 2, 3]}]',
    ],
)
def test_a_golden_answer_that_is_not_one_is_refused(tmp_path: Path, text: str) -> None:
    folder = write_model(tmp_path / "mine")
    (folder / "golden.jpg").write_bytes(b"")
    (folder / "golden.json").write_text(text)
    with pytest.raises(ModelError, match=r"golden\.json is not the list that"):
        find_source(str(folder))


def test_a_golden_image_that_is_none_is_a_wrong_answer(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    (folder / "golden.jpg").write_text("no picture")
    (folder / "golden.json").write_text("[]")
    detector = load_detector(load_settings(model=str(folder), models_dir=tmp_path / "models"))
    with pytest.raises(WrongAnswerError, match="the golden image can't be predicted: this is no picture"):
        detector.check()


def test_preparing_twice_converts_once(tmp_path: Path) -> None:
    source = find_source(str(write_model(tmp_path / "mine")))
    first = prepare(source, tmp_path / "models")
    before = first.path.stat()
    second = prepare(source, tmp_path / "models")
    assert (first.changed, second.changed) == (True, False)
    assert second.labels == ["cat", "dog"]
    assert second.path.stat().st_mtime_ns == before.st_mtime_ns
    assert sorted(path.suffix for path in second.path.parent.iterdir()) == [".json", ".onnx"]


def test_other_weights_are_another_model(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    first = prepare(find_source(str(folder)), tmp_path / "models")
    weights = np.fromfile(folder / "net.weights", np.uint8)
    weights[-1] ^= 1
    weights.tofile(folder / "net.weights")
    second = prepare(find_source(str(folder)), tmp_path / "models")
    assert second.path != first.path
    assert first.path.exists()


@pytest.mark.parametrize(
    ("suffix", "damaged"), [(".onnx", "half"), (".onnx", None), (".json", ""), (".json", "{}"), (".json", "[]")]
)
def test_a_damaged_prepared_file_is_made_again(tmp_path: Path, suffix: str, damaged: str | None) -> None:
    source = find_source(str(write_model(tmp_path / "mine")))
    first = prepare(source, tmp_path / "models")
    good = first.path.read_bytes()
    path = first.path.with_suffix(suffix)
    path.unlink() if damaged is None else path.write_text(damaged)
    assert prepare(source, tmp_path / "models").changed
    assert first.path.read_bytes() == good


def test_a_model_that_cant_be_read_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    (folder / "net.weights").write_bytes((folder / "net.weights").read_bytes()[:-4])
    with pytest.raises(DarknetError, match=r"net\.weights ends here"):
        prepare(find_source(str(folder)), tmp_path / "models")
    assert list(tmp_path.glob("models/**/*.onnx")) == []


def test_a_file_that_changes_after_it_was_looked_at_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    source = find_source(str(folder))
    (folder / "net.names").write_text("dog\ncat\n")
    with pytest.raises(ModelError, match=r"net\.names changed"):
        prepare(source, tmp_path / "models")


def test_several_at_once_prepare_one_right_file(tmp_path: Path) -> None:
    source = find_source(str(write_model(tmp_path / "mine")))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(prepare(source, tmp_path / "models").path)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert not prepare(source, tmp_path / "models").changed


def test_requirements_grow_with_the_weights_and_the_pictures() -> None:
    disk, memory = find_source("yolov3").requirements(0)
    assert disk > 2 * 248_007_048
    # Seen resident: 829 MB.
    assert 800e6 < memory < 1100e6
    assert find_source("yolov3-tiny").requirements(0)[1] < memory
    # Seen at the peak, beside Python and the libraries: 1 GB for 49 million pixels of AVIF.
    assert find_source("yolov3").requirements(49_000_000)[1] - memory > 1e9


def test_a_golden_answer_decides(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    from barevision.pictures.decode import encode_image

    (folder / "golden.jpg").write_bytes(encode_image(np.zeros((32, 64, 3), np.uint8), ".jpg"))
    (folder / "golden.json").write_text("[]")
    detector = load_detector(load_settings(model=str(folder), models_dir=tmp_path / "models"))
    assert "0 boxes were found" in detector.check()

    wanted = [{"boxes": [1, 2, 3, 4], "color": [0, 0, 0], "label": "cat", "confidence": 0.9}]
    (folder / "golden.json").write_text(json.dumps(wanted))
    detector = load_detector(load_settings(model=str(folder), models_dir=tmp_path / "models"))
    with pytest.raises(WrongAnswerError, match=r"missing: cat 0\.900 at \[1, 2, 3, 4\]"):
        detector.check()


def test_a_network_that_answers_no_numbers_is_found_out(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    # Finite weights, but far too large: exp() overflows in the boxes.
    data = bytearray((folder / "net.weights").read_bytes())
    values = np.frombuffer(data, "<f4", offset=20).copy()
    values[-14 * 8 - 14 :] = 1e30
    (folder / "net.weights").write_bytes(bytes(data[:20]) + values.tobytes())
    detector = load_detector(load_settings(model=str(folder), models_dir=tmp_path / "models"))
    with pytest.raises(WrongAnswerError, match="not finite"):
        detector.check()


def test_differences_name_what_is_missing_and_what_is_extra() -> None:
    dog = Detection((10, 20, 30, 40), (1, 2, 3), "dog", 0.9)
    moved = replace(dog, box=(12, 18, 30, 40), confidence=0.904)
    assert differences([dog], [moved], pixels=2, confidence=0.005) == []
    assert len(differences([dog], [moved], pixels=1, confidence=0.005)) == 2
    assert len(differences([dog], [moved], pixels=2, confidence=0.003)) == 2
    assert differences([dog], []) == ["missing: dog 0.900 at [10, 20, 30, 40]"]
    assert differences([], [dog]) == ["unexpected: dog 0.900 at [10, 20, 30, 40]"]
    assert differences([dog], [dog, dog]) == ["unexpected: dog 0.900 at [10, 20, 30, 40]"]
    assert len(differences([dog], [replace(dog, label="cat")])) == 2


def test_the_input_size_of_the_catalogue_wins(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine", TINY_CFG)
    source = replace(find_source(str(folder)), input_size=(64, 128))
    prepared = prepare(source, tmp_path / "models")
    assert load_engine("onnxruntime", prepared.path, 1).input_size == (64, 128)
    assert prepared.path != prepare(find_source(str(folder)), tmp_path / "models").path


def test_a_models_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(ModelError, match=r"mine can't be prepared in .*models: .*barevision models prepare"):
        prepare(find_source(str(write_model(tmp_path / "mine"))), tmp_path / "models")
