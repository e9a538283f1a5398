"""What is remembered of downloaded models."""

from __future__ import annotations

from pathlib import Path

import pytest

from barevision.errors import ModelError
from barevision.models.pins import Pin, is_damaged, pulled_names, read_pin, write_pin

SIGNS = Pin("https://example.org/best.onnx", "0" * 64)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models directory with the folder of a model `signs`."""
    (tmp_path / "signs").mkdir()
    return tmp_path


def test_a_pin_comes_back_as_it_was(models: Path) -> None:
    for pin in (SIGNS, Pin(sha256="1" * 64)):
        write_pin(models / "signs", pin)
        assert read_pin(models, "signs") == pin


def test_a_pin_that_says_the_same_is_not_written_again(models: Path) -> None:
    file = models / "signs" / "source.json"
    write_pin(models / "signs", SIGNS)
    before = file.stat()
    write_pin(models / "signs", SIGNS)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("name", ["signs", "other", "../signs", "", "/etc"])
def test_where_nothing_was_remembered_a_pin_is_empty(models: Path, name: str) -> None:
    write_pin(models, SIGNS)
    assert read_pin(models, name) == Pin()
    assert read_pin(None, name) == Pin()


@pytest.mark.parametrize("text", ["{", "", "\xff", "[]", '{"url": 5}'])
def test_a_damaged_file_is_an_error_with_a_way_out(models: Path, text: str) -> None:
    (models / "signs" / "source.json").write_bytes(text.encode("latin-1"))
    assert is_damaged(models, "signs")
    assert pulled_names(models) == ["signs"]
    with pytest.raises(ModelError, match=r"signs/source\.json can't be read: .*'barevision models rm signs'"):
        read_pin(models, "signs")


def test_only_models_from_an_address_have_a_name_of_their_own(models: Path) -> None:
    for name, pin in {"signs": SIGNS, "yolov4-csp": Pin(sha256="1" * 64), "animals": SIGNS}.items():
        (models / name).mkdir(exist_ok=True)
        write_pin(models / name, pin)
    (models / "folder").mkdir()
    (models / "file").touch()
    assert pulled_names(models) == ["animals", "signs"]
    assert pulled_names(models / "nowhere") == pulled_names(None) == []
