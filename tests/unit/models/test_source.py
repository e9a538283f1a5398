"""A model's files in a folder, and what it takes to serve them."""

from __future__ import annotations

from pathlib import Path

import pytest

from barevision.errors import ModelError
from barevision.models.catalogue import find_source
from tests.support.darknet_files import write_model


def test_a_folder_needs_exactly_one_file_of_each_kind(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    (folder / "second.cfg").write_text("")
    with pytest.raises(ModelError, match=r"exactly one \.cfg file, found net.cfg, second.cfg"):
        find_source(str(folder))
    (folder / "second.cfg").unlink()
    (folder / "net.names").unlink()
    with pytest.raises(ModelError, match=r"exactly one \.names file, found none"):
        find_source(str(folder))


def test_a_folder_in_the_place_of_a_file_does_not_count(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    (folder / "net.names").unlink()
    (folder / "net.names").mkdir()
    with pytest.raises(ModelError, match=r"exactly one \.names file, found none"):
        find_source(str(folder))


def test_requirements_grow_with_the_weights_and_the_pictures() -> None:
    disk, memory = find_source("yolov3").requirements(0)
    assert disk > 2 * 248_007_048
    # Seen resident: 829 MB.
    assert 800e6 < memory < 1100e6
    assert find_source("yolov3-tiny").requirements(0)[1] < memory
    # Seen at the peak, beside Python and the libraries: 1 GB for 49 million pixels of AVIF.
    assert find_source("yolov3").requirements(49_000_000)[1] - memory > 1e9
