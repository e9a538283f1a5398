"""``barevision predict``, in this process and on a service."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import requests

from barevision.models.catalogue import find_source
from barevision.objects import differences, parse_detections
from barevision.pictures.decode import encode_image
from tests.support.answers import detections
from tests.support.command_line import run


def test_one_picture_as_json_is_the_list_and_several_are_an_object(model: Path, picture: Path) -> None:
    one = json.loads(run("predict", picture, "--model", model, "--confidence", 0.2, "--json").stdout)
    assert isinstance(one, list)
    assert set(one[0]) == {"boxes", "color", "label", "confidence"}
    both = json.loads(
        run("predict", picture, picture.with_name("picture.png"), picture, "--model", model, "--json").stdout
    )
    assert list(both) == [str(picture)]


def test_the_answer_in_words(model: Path, picture: Path) -> None:
    command = ("predict", picture, "--model", model, "--confidence", 0.2, "--nms", 0)
    first, *others = run(*command).stdout.splitlines()
    expected = parse_detections(run(*command, "--json").stdout)
    assert len(expected) > 1
    assert first == f"{picture}: {len(expected)} objects"
    for line, detection in zip(others, expected, strict=True):
        x, y, width, height = detection.box
        assert line.split() == [f"{detection.confidence:.3f}", detection.label, f"{width}x{height}", "at", f"{x},{y}"]


def test_csv_has_a_row_for_each_object(model: Path, picture: Path) -> None:
    command = ("predict", picture, "--model", model, "--confidence", 0.2)
    rows = list(csv.DictReader(io.StringIO(run(*command, "--csv").stdout)))
    plain = json.loads(run(*command, "--json").stdout)
    assert list(rows[0]) == ["file", "label", "confidence", "x", "y", "width", "height"]
    assert [[float(row[name]) for name in ("confidence", "x", "y", "width", "height")] for row in rows] == [
        [item["confidence"], *item["boxes"]] for item in plain
    ]
    assert {row["file"] for row in rows} == {str(picture)}
    assert "--json and --csv exclude each other" in run(*command, "--csv", "--json").stderr


def test_annotated_pictures_are_saved(model: Path, picture: Path, tmp_path: Path) -> None:
    run("predict", picture, "--model", model, "--save", tmp_path / "a" / "b", "--confidence", 0.2)
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["picture.jpg"]
    assert (tmp_path / "a" / "b" / "picture.jpg").read_bytes().startswith(b"\xff\xd8")


def test_saving_never_replaces_a_given_picture(model: Path, photo: np.ndarray, tmp_path: Path) -> None:
    original = tmp_path / "photo.jpg"
    original.write_bytes(encode_image(photo, ".jpg"))
    before = original.read_bytes()
    result = run("predict", original, "--model", model, "--save", tmp_path / "x" / "..")
    assert result.exit_code == 2
    assert f"would replace {original} with {original}" in result.stderr
    assert original.read_bytes() == before


def test_two_pictures_are_never_saved_as_one(model: Path, picture: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "picture.jpg"
    result = run("predict", picture, other, "--model", model, "--save", tmp_path / "out")
    assert result.exit_code == 2
    assert f"would write {picture} and {other} to" in result.stderr
    assert run("predict", picture, picture, "--model", model, "--save", tmp_path / "out").exit_code == 0


def test_what_is_selected(tmp_path: Path) -> None:
    signs = tmp_path / "signs.jpg"
    signs.write_bytes(find_source("roadsigns").golden.picture)

    def answer(*options: object) -> list[dict]:
        return json.loads(run("predict", signs, "--json", "--confidence", 0, *options).stdout)

    everything = answer("--nms", 1)
    assert len(everything) > len(answer("--nms", 1, "--confidence", 0.5))
    assert answer("--nms", 1, "--limit", 2) == everything[:2]
    assert {item["label"] for item in answer("--classes", "stop, give way")} == {"stop", "give way"}
    assert len(answer("--nms", 0, "--per-class-nms")) > len(answer("--nms", 0))


@pytest.mark.parametrize(("classes", "words"), [("elephant", "no class elephant; it has"), ("cat,", "an empty label")])
def test_classes_are_the_models(model: Path, picture: Path, classes: str, words: str) -> None:
    result = run("predict", picture, "--model", model, "--classes", classes)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_model_and_a_url_exclude_each_other(picture: Path) -> None:
    result = run("predict", picture, "--model", "roadsigns", "--url", "http://x")
    assert result.exit_code == 2
    assert "the service at --url has its own" in result.stderr


def test_one_bad_picture_does_not_stop_the_others(model: Path, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    result = run("predict", tmp_path / "bad.jpg", tmp_path / "none.jpg", picture, "--model", model, "--json")
    assert result.exit_code == 1
    assert list(json.loads(result.stdout)) == [str(picture)]
    assert "bad.jpg: this is no picture" in result.stderr
    assert "none.jpg: " in result.stderr


def test_progress_and_failures_are_told_on_stderr(model: Path, pictures: Path) -> None:
    for number in range(17):
        (pictures / f"{number:02}.jpg").write_text("no picture")
    result = run("predict", pictures, "--model", model, "--csv")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert [line for line in lines if line.endswith("of 20 pictures")] == [
        f"{count} of 20 pictures" for count in range(2, 21, 2)
    ]
    assert lines[-1] == "17 of 20 pictures failed"


def test_ctrl_c_keeps_what_was_done(model: Path, picture: Path) -> None:
    pipe = picture.with_name("pipe.png")
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "barevision", "predict", picture, pipe, "--model", model, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline() == "1 of 2 pictures\n"
        process.send_signal(signal.SIGINT)
        out, words = process.communicate(timeout=60)
    assert process.returncode == 130
    assert list(json.loads(out)) == [str(picture)]
    assert words == "interrupted; 1 of 2 pictures were predicted\n"


def test_pictures_are_predicted_by_a_service(url: str, tmp_path: Path) -> None:
    golden, path = find_source("roadsigns").golden, tmp_path / "signs.jpg"
    path.write_bytes(golden.picture)
    result = run("predict", path, "--url", url, "--json", "--save", tmp_path / "out")
    assert result.exit_code == 0, result.output
    direct = requests.post(f"{url}/predict", data=golden.picture, timeout=30).json()
    assert json.loads(result.stdout) == direct
    assert (tmp_path / "out" / "signs.jpg").exists()
    assert differences(golden.expected, detections(direct)) == []

    path.write_text("no picture")
    result = run("predict", path, "--url", url)
    assert result.exit_code == 1
    assert "answers 400: this is no picture" in result.stderr
