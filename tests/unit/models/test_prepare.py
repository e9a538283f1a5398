"""From a model's files to one verified ONNX file."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from barevision.detection.network_output import Head
from barevision.engines import Plan, load_engine
from barevision.errors import DarknetError, ModelError
from barevision.models.catalogue import find_source
from barevision.models.prepare import prepare
from tests.support.darknet_files import TINY_CFG, write_model


def test_preparing_twice_converts_once(tmp_path: Path) -> None:
    source = find_source(str(write_model(tmp_path / "mine")))
    first = prepare(source, tmp_path / "models")
    before = first.path.stat()
    second = prepare(source, tmp_path / "models")
    assert (first.changed, second.changed) == (True, False)
    assert second.labels == ["cat", "dog"]
    assert second.path.stat().st_mtime_ns == before.st_mtime_ns
    assert sorted(path.suffix for path in second.path.parent.iterdir()) == [".json", ".onnx"]


def test_what_prepares_is_not_loaded_to_serve_what_is_prepared(tmp_path: Path) -> None:
    prepare(find_source("roadsigns"), tmp_path)
    code = "import sys, barevision.serving.wsgi; print({'onnx', 'requests'} & set(sys.modules))"
    plan = {"BAREVISION_ENGINE": "onnxruntime", "BAREVISION_PRECISION": "f32", "BAREVISION_THREADS": "1"}
    environment = {**os.environ, **plan, "BAREVISION_MODELS_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_other_weights_are_another_model(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    first = prepare(find_source(str(folder)), tmp_path / "models")
    weights = np.fromfile(folder / "net.weights", np.uint8)
    weights[-1] ^= 1
    weights.tofile(folder / "net.weights")
    second = prepare(find_source(str(folder)), tmp_path / "models")
    assert second.path != first.path
    assert first.path.exists()


def test_another_input_size_is_another_prepared_model_without_the_golden_answer(tmp_path: Path) -> None:
    assert find_source("yolov3@608").input_size == (608, 608)
    assert find_source("yolov3@640x384").input_size == (384, 640)
    folder = str(write_model(tmp_path / "mine"))
    own = prepare(find_source(folder), tmp_path / "models")
    other = prepare(find_source(f"{folder}@128x96"), tmp_path / "models")
    assert own.path != other.path
    assert load_engine(Plan(), other.path).input_size == (96, 128)
    assert find_source("roadsigns@416").golden is None
    with pytest.raises(DarknetError, match="the input is 130x96: its sides must be divisible by 4"):
        prepare(find_source(f"{folder}@130x96"), tmp_path / "models")


def test_the_input_size_of_the_catalogue_wins(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine", TINY_CFG)
    source = replace(find_source(str(folder)), input_size=(64, 128))
    prepared = prepare(source, tmp_path / "models")
    assert load_engine(Plan(), prepared.path).input_size == (64, 128)
    assert prepared.path != prepare(find_source(str(folder)), tmp_path / "models").path


def test_texts_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    for name in ("net.cfg", "net.names"):
        (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())
    assert prepare(find_source(str(folder)), tmp_path / "models").labels == ["cat", "dog"]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252", "gbk"])
def test_a_comment_may_be_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    folder = write_model(tmp_path / "mine")
    plain = prepare(find_source(str(folder)), tmp_path / "models")
    comment = {"gbk": "# 训练 [网络] … 卂 = 1\n", "cp1252": "# für 64 …\n"}.get(encoding, "# für 64 µm\n")
    (folder / "net.cfg").write_bytes(comment.encode(encoding) + (folder / "net.cfg").read_bytes())
    commented = prepare(find_source(str(folder)), tmp_path / "models")
    assert commented.path != plain.path
    assert commented.path.read_bytes() == plain.path.read_bytes()


def test_names_in_another_encoding_are_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    (folder / "net.names").write_bytes("café\nchat\n".encode("latin-1"))
    with pytest.raises(ModelError, match=r"net.names is not UTF-8 text .* save it as UTF-8"):
        prepare(find_source(str(folder)), tmp_path / "models")


def test_a_network_that_was_trained_letterboxed_is_given_letterboxed_images(tmp_path: Path) -> None:
    """Its prepared file too, where somebody takes that for a model of its own."""
    folder = write_model(tmp_path / "mine", TINY_CFG.replace("[net]", "[net]\nletter_box=1"))
    prepared = prepare(find_source(str(folder)), tmp_path / "models")
    assert prepared.head == Head("relative", "darknet-letterbox")
    assert prepare(find_source(str(folder)), tmp_path / "models").head == prepared.head
    assert prepare(find_source(str(prepared.path)), tmp_path / "again").head == prepared.head

    (folder / "net.cfg").write_text(TINY_CFG.replace("[net]", "[net]\nletter_box=0"))
    stretched = prepare(find_source(str(folder)), tmp_path / "models")
    assert stretched.head == Head("relative", "stretch")
    assert prepare(find_source(str(stretched.path)), tmp_path / "again").head == stretched.head


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


@pytest.mark.parametrize(
    ("suffix", "right", "wrong"), [(".onnx", b"barevision", b"barevisiom"), (".json", b'"cat"', b'"rat"')]
)
def test_a_byte_that_flipped_is_found(tmp_path: Path, suffix: str, right: bytes, wrong: bytes) -> None:
    source = find_source(str(write_model(tmp_path / "mine")))
    path = prepare(source, tmp_path / "models").path.with_suffix(suffix)
    good = path.read_bytes()
    assert right in good
    path.write_bytes(good.replace(right, wrong))

    assert prepare(source, tmp_path / "models").changed
    assert path.read_bytes() == good


def test_a_damaged_one_is_named_where_it_cannot_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = find_source(str(write_model(tmp_path / "mine")))
    path = prepare(source, tmp_path / "models").path
    path.write_bytes(b"")
    # What access() says of a folder on a file system that is mounted read-only, as the service's is.
    monkeypatch.setattr(os, "access", lambda folder, mode: (folder, mode) != (path.parent, os.W_OK))

    with pytest.raises(ModelError, match=rf"{path} is damaged: .*barevision models prepare"):
        prepare(source, tmp_path / "models")


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


def test_a_models_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(ModelError, match=r"mine can't be prepared in .*models: .*barevision models prepare"):
        prepare(find_source(str(write_model(tmp_path / "mine"))), tmp_path / "models")
