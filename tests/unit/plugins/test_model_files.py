"""Which files Ansible copies of a model that is here."""

from __future__ import annotations

import hashlib
from pathlib import Path

from plugins.filter.model_files import model_files


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_of_a_folder_it_is_what_makes_the_model(tmp_path: Path) -> None:
    folder = tmp_path / "a [b]"
    folder.mkdir()
    for name in ("mine.weights", "mine.cfg", "mine.names", "golden.jpg", "golden.json", "notes.txt", "other.jpg"):
        (folder / name).write_text(name)

    files = model_files(str(folder))

    assert list(files) == ["golden.jpg", "golden.json", "mine.cfg", "mine.names", "mine.weights"]
    assert all(digest == sha256(name) for name, digest in files.items())


def test_links_are_followed_and_those_that_lead_nowhere_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (tmp_path / "kept elsewhere").write_text("1")
    (folder / "mine.weights").symlink_to(tmp_path / "kept elsewhere")
    (folder / "old.weights").symlink_to("/nonexistent")
    (folder / "folder.cfg").mkdir()

    assert model_files(str(folder)) == {"mine.weights": sha256("1")}


def test_the_names_beside_an_onnx_file_go_with_it(tmp_path: Path) -> None:
    for name in ("BEST.ONNX", "BEST.txt", "other.txt", "golden.jpg"):
        (tmp_path / name).write_text(name)

    assert list(model_files(str(tmp_path / "BEST.ONNX"))) == ["BEST.ONNX", "BEST.txt"]
    assert list(model_files(str(tmp_path))) == ["BEST.ONNX", "BEST.txt", "golden.jpg"]


def test_a_file_is_all_of_the_model_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "best[1].onnx").write_text("1")
    (tmp_path / "best1.onnx").write_text("2")

    assert model_files(str(tmp_path / "best[1].onnx")) == {"best[1].onnx": sha256("1")}
