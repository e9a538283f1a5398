"""The pictures that a command line names: folders, globs and standard input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import run


def test_folders_are_searched_for_pictures_in_stable_order(model: Path, pictures: Path) -> None:
    result = run("predict", pictures, "--model", model, "--json")
    assert result.exit_code == 0, result.output
    assert list(json.loads(result.stdout)) == [str(pictures / name) for name in ("a.png", "b/a.png", "c.PNG")]


@pytest.mark.parametrize(
    ("pattern", "names"), [("*.png", ["a.png"]), ("**/*.png", ["a.png", "b/a.png"]), ("[b]", ["b/a.png"])]
)
def test_quoted_globs(
    model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, names: list[str]
) -> None:
    absolute = run("predict", pictures / pattern, "--model", model, "--json")
    assert list(json.loads(absolute.stdout)) == [str(pictures / name) for name in names]
    monkeypatch.chdir(pictures)
    assert list(json.loads(run("predict", pattern, "--model", model, "--json").stdout)) == names


def test_a_file_whose_name_looks_like_a_glob_is_a_file(model: Path, picture: Path) -> None:
    odd = picture.rename(picture.with_name("photo[1].png"))
    assert isinstance(json.loads(run("predict", odd, "--model", model, "--json").stdout), list)


@pytest.mark.parametrize(
    ("name", "words"), [("*.bmp", "matches nothing; pictures"), ("empty", "has no pictures; pictures in folders")]
)
def test_nothing_to_predict_is_an_error(pictures: Path, name: str, words: str) -> None:
    (pictures / "empty").mkdir()
    result = run("predict", pictures / name)
    assert result.exit_code == 2
    assert f"{pictures / name} {words}" in result.stderr
    assert "one of IMAGES is empty" in run("predict", "").stderr


def test_standard_input(model: Path, picture: Path, tmp_path: Path) -> None:
    command = ("predict", "-", "--model", model, "--json", "--save", tmp_path / "out")
    result = run(*command, stdin=picture.read_bytes())
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads(run("predict", picture, "--model", model, "--json").stdout)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["stdin.jpg"]


@pytest.mark.parametrize("searched", ["", "**/*.[pPj][nNp][gG]"], ids=["folder", "glob"])
def test_saving_keeps_the_paths_and_is_not_predicted_itself(model: Path, pictures: Path, searched: str) -> None:
    for _ in range(2):
        result = run("predict", pictures / searched, "--model", model, "--save", pictures / "out", "--json")
        assert len(json.loads(result.stdout)) == 3
    saved = sorted(str(path.relative_to(pictures / "out")) for path in (pictures / "out").rglob("*.*"))
    assert saved == ["a.jpg", "b/a.jpg", "c.jpg"]
