"""The models directory: what is there of a model, and what goes when it is removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from barevision.errors import ModelError
from barevision.models.catalogue import find_source
from barevision.models.prepare import prepare
from barevision.models.store import is_downloaded, pull, remove
from tests.support.darknet_files import write_model


def test_a_model_of_ones_own_is_there_and_never_fetched(tmp_path: Path) -> None:
    source = find_source(str(write_model(tmp_path / "mine")))
    assert is_downloaded(source, tmp_path / "models")
    assert pull(source, tmp_path / "models") == tmp_path / "mine"
    assert not (tmp_path / "models").exists()


def test_a_model_is_downloaded_once_all_of_its_files_are_there(tmp_path: Path) -> None:
    source = find_source("yolov3")
    (tmp_path / "yolov3").mkdir()
    for file in source.files.values():
        assert not is_downloaded(source, tmp_path)
        (tmp_path / "yolov3" / file.name).touch()
    assert is_downloaded(source, tmp_path)


def test_files_of_others_stay_when_a_model_is_removed(tmp_path: Path) -> None:
    models = tmp_path / "models"
    source = find_source(str(write_model(tmp_path / "mine")))
    prepared = prepare(source, models).path
    other = models / "mine" / "other-0123.onnx"
    other.touch()
    assert remove(source, models) == [prepared.with_suffix(".json"), prepared]
    assert list((models / "mine").iterdir()) == [other]
    assert remove(source, models) == []


def test_a_model_of_ones_own_may_be_called_as_the_embedded_one_is(tmp_path: Path) -> None:
    models = tmp_path / "models"
    source = find_source(str(write_model(tmp_path / "roadsigns")))
    prepared = prepare(source, models).path
    assert prepared in remove(source, models)
    with pytest.raises(ModelError, match="roadsigns comes with Barevision and can't be removed"):
        remove(find_source("roadsigns"), models)


def test_a_folder_of_ones_own_in_the_models_directory_is_not_removed(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    before = sorted(folder.iterdir())
    with pytest.raises(ModelError, match="is your own folder inside of the models directory; remove it yourself"):
        remove(find_source(str(folder)), tmp_path)
    assert sorted(folder.iterdir()) == before
