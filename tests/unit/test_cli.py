"""The command line in this process; over HTTP it is tested in tests/api."""

from __future__ import annotations

import csv
import fcntl
import functools
import http.server
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from barevision.cli import main
from barevision.models.catalogue import find_source
from barevision.models.source import file_sha256
from barevision.pictures.decode import encode_image
from tests.support.darknet_files import write_model
from tests.support.onnx_files import network, write_network


def run(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=environment)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "mine")


@pytest.fixture
def picture(tmp_path: Path, photo: np.ndarray) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(encode_image(photo, ".png"))
    return path


def test_one_picture_as_json_is_the_list_and_several_are_an_object(model: Path, picture: Path) -> None:
    one = json.loads(run("predict", picture, "--model", model, "--confidence", 0.2, "--json").stdout)
    assert isinstance(one, list)
    assert set(one[0]) == {"boxes", "color", "label", "confidence"}
    both = json.loads(
        run("predict", picture, picture.with_name("picture.png"), picture, "--model", model, "--json").stdout
    )
    assert list(both) == [str(picture)]


def test_the_answer_in_words(model: Path, picture: Path) -> None:
    result = run("predict", picture, "--model", model, "--confidence", 0.2, "--nms", 0)
    assert result.exit_code == 0
    assert f"{picture}: " in result.stdout
    assert " cat " in result.stdout or " dog " in result.stdout


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


@pytest.fixture
def pictures(tmp_path: Path, photo: np.ndarray) -> Path:
    """A folder of pictures, one of them below it by the same name, and something else."""
    folder = tmp_path / "pictures"
    (folder / "b").mkdir(parents=True)
    for name in ("c.PNG", "a.png", "b/a.png"):
        (folder / name).write_bytes(encode_image(photo, ".png"))
    (folder / "notes.txt").write_text("no picture")
    return folder


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
    assert run("predict", "").exit_code == 2


def test_standard_input(model: Path, picture: Path, tmp_path: Path) -> None:
    command = ["predict", "-", "--model", str(model), "--json", "--save", str(tmp_path / "out")]
    result = CliRunner().invoke(main, command, input=picture.read_bytes())
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


def test_csv_has_a_row_for_each_object(model: Path, picture: Path) -> None:
    command = ("predict", picture, "--model", model, "--confidence", 0.2)
    rows = list(csv.DictReader(io.StringIO(run(*command, "--csv").stdout)))
    plain = json.loads(run(*command, "--json").stdout)
    assert list(rows[0]) == ["file", "label", "confidence", "x", "y", "width", "height"]
    assert [[float(row[name]) for name in ("confidence", "x", "y", "width", "height")] for row in rows] == [
        [item["confidence"], *item["boxes"]] for item in plain
    ]
    assert {row["file"] for row in rows} == {str(picture)}
    assert run(*command, "--csv", "--json").exit_code == 2


def test_what_is_selected(tmp_path: Path) -> None:
    signs = tmp_path / "signs.jpg"
    signs.write_bytes(find_source("roadsigns").golden.image)

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


@pytest.mark.parametrize("option", ["--confidence", "--nms"])
@pytest.mark.parametrize("value", ["nan", "-0.1", "1.1"])
def test_thresholds_are_from_0_to_1(picture: Path, option: str, value: str) -> None:
    result = run("predict", picture, "--model", "roadsigns", option, value)
    assert result.exit_code == 2
    assert "is not in the range 0<=x<=1" in result.stderr


def test_one_bad_picture_does_not_stop_the_others(model: Path, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    result = run("predict", tmp_path / "bad.jpg", tmp_path / "none.jpg", picture, "--model", model, "--json")
    assert result.exit_code == 1
    assert list(json.loads(result.stdout)) == [str(picture)]
    assert "bad.jpg: this is no picture" in result.stderr
    assert "none.jpg: " in result.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["predict", "x.jpg", "--model", "nonsense"], {}, "unknown model 'nonsense'"),
        (["models", "prepare", "nonsense"], {}, "unknown model 'nonsense'"),
        (["models", "check", "roadsigns"], {"BAREVISION_ENGINE": "tensorrt"}, "BAREVISION_ENGINE='tensorrt'"),
        (["models", "check", "roadsigns"], {"BAREVISION_MODLE": "x"}, "unknown setting BAREVISION_MODLE; known are"),
        (["models", "check", "roadsigns"], {"barevision_modle": "x"}, "unknown setting barevision_modle; known are"),
        (["models", "check", "roadsigns"], {"BAREVISION_QUEUE_SECONDS": "inf"}, "BAREVISION_QUEUE_SECONDS='inf'"),
        (["models", "check", "roadsigns"], {"BAREVISION_QUEUE_SECONDS": "3601"}, "less than or equal to 3600"),
        (["models", "check", "roadsigns", "--url", "http://127.0.0.1:9"], {}, "does not answer"),
        (["models", "pull", "yolov3", "--models-dir", "/proc/nope"], {}, "yolov3 can't be fetched into /proc/nope: "),
        (
            ["models", "prepare", "roadsigns", "--models-dir", "/proc/nope"],
            {},
            "roadsigns can't be prepared in /proc/nope",
        ),
        (
            ["predict", __file__, "--url", "http://127.0.0.1:9", "--save", "x"],
            {"BAREVISION_NMS": "2"},
            "BAREVISION_NMS='2'",
        ),
    ],
)
def test_expected_failures_are_one_line(arguments: list[str], environment: dict[str, str], words: str) -> None:
    result = run(*arguments, **environment)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert words in result.stderr
    assert result.stderr.count("Error: ") == 1
    assert "Traceback" not in result.output


def test_a_model_and_a_url_exclude_each_other(picture: Path) -> None:
    assert run("predict", picture, "--model", "roadsigns", "--url", "http://x").exit_code == 2


def test_preparing_says_whether_it_changed_anything(model: Path, tmp_path: Path) -> None:
    command = ("models", "prepare", model, "--models-dir", tmp_path / "models", "--json")
    first, second = (json.loads(run(*command).stdout) for _ in range(2))
    assert (first["changed"], second["changed"]) == (True, False)
    assert Path(first["path"]).is_file()
    assert first["memory_bytes"] > 100e6


def test_models_are_listed_with_what_they_take() -> None:
    rows = json.loads(run("models", "list", "--json").stdout)
    assert [row["model"] for row in rows][:2] == ["roadsigns", "yolov3"]
    assert "MiB" in run("models", "list").stdout
    assert json.loads(run("models", "requirements", "yolov3", "--json").stdout).items() <= rows[1].items()
    smaller = run("models", "requirements", "yolov3", "--json", BAREVISION_MAX_PIXELS="1000000")
    larger = run("models", "requirements", "yolov3", "--json", BAREVISION_CONCURRENCY="2")
    memory = [json.loads(result.stdout)["memory_bytes"] for result in (smaller, larger)]
    assert memory[0] < rows[1]["memory_bytes"] - 900e6 < memory[1] - 1800e6


@pytest.mark.parametrize("command", [[], ["predict"], ["serve"], ["models"], ["models", "prepare"]])
def test_help_is_there(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["serv"]])
def test_what_needs_no_model_does_not_load_what_runs_them(arguments: list[str]) -> None:
    code = f"import sys; from barevision.cli import main; main({arguments}, standalone_mode=False)"
    code = f"try:\n  {code}\nfinally:\n  print('loaded', [name for name in ('cv2', 'onnx') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "loaded []" in done.stdout


class TestModels:
    """``barevision models`` on models of a directory of their own."""

    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[tuple[str, str]]:
        """The address of an .onnx file, and its sha256."""
        path = write_network(tmp_path / "www" / "best.onnx", network(np.zeros((7, 20))))
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=path.parent)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield f"http://127.0.0.1:{server.server_port}/best.onnx", file_sha256(path)
            server.shutdown()
            thread.join()

    def models(self, tmp_path: Path, *arguments: object) -> Result:
        return run("models", *arguments, "--models-dir", tmp_path / "models")

    def row(self, tmp_path: Path, name: str) -> dict:
        rows = json.loads(self.models(tmp_path, "list", "--json").stdout)
        return next(row for row in rows if row["model"] == name)

    def test_a_model_from_an_address_is_remembered_by_name(self, tmp_path: Path, site: tuple[str, str]) -> None:
        url, digest = site
        refused = self.models(tmp_path, "pull", url)
        assert "its sha256 is not known" in refused.stderr
        assert "0" * 64 in self.models(tmp_path, "pull", url, "--sha256", "0" * 64).stderr
        assert not list((tmp_path / "models").rglob("*.onnx"))

        result = self.models(tmp_path, "pull", url, "--sha256", digest.upper(), "--name", "signs", "--json")
        assert json.loads(result.stdout)["model"] == "signs"
        assert self.row(tmp_path, "signs")["downloaded"]
        assert not self.row(tmp_path, "signs")["prepared"]
        prepared = json.loads(self.models(tmp_path, "prepare", "signs", "--json").stdout)
        assert (prepared["changed"], prepared["seconds"] > 0) == (True, True)
        row = self.row(tmp_path, "signs")
        assert (row["prepared"], row["seconds"]) == (True, prepared["seconds"])

        removed = json.loads(self.models(tmp_path, "rm", "signs", "--json").stdout)["removed"]
        assert str(tmp_path / "models" / "signs" / "signs.onnx") in removed
        assert "unknown model 'signs'" in self.models(tmp_path, "prepare", "signs").stderr

    def test_what_is_being_fetched_is_not_removed(self, tmp_path: Path) -> None:
        folder = tmp_path / "models" / "yolov3"
        folder.mkdir(parents=True)
        (folder / "yolov3.weights.part").write_bytes(b"half")
        with (folder / ".yolov3.weights.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert "is being fetched by another process" in self.models(tmp_path, "rm", "yolov3").stderr
        assert "removed" in self.models(tmp_path, "rm", "yolov3").stdout
        assert not folder.exists()

    def test_a_reference_with_its_hash_needs_no_pull(self, tmp_path: Path, site: tuple[str, str]) -> None:
        url, digest = site
        assert self.models(tmp_path, "prepare", f"{url}#sha256={digest}").exit_code == 0
        assert self.models(tmp_path, "prepare", url).exit_code == 0

    @pytest.mark.parametrize("name", ["../x", "yolov3", "a b", ""])
    def test_names_that_can_not_be(self, tmp_path: Path, name: str) -> None:
        url = "https://example.org/best.onnx"
        result = self.models(tmp_path, "pull", url, "--sha256", "0" * 64, "--name", name)
        assert result.exit_code == 1
        assert "--name" in result.stderr or "can't be the name" in result.stderr or "could not" in result.stderr
        assert not (tmp_path / "x").exists()

    def test_own_files_and_the_embedded_model_are_not_removed(self, tmp_path: Path, model: Path) -> None:
        before = sorted(path.read_bytes() for path in model.iterdir())
        assert self.models(tmp_path, "prepare", model).exit_code == 0
        result = self.models(tmp_path, "rm", model)
        assert result.stdout.count("removed ") == 3
        assert sorted(path.read_bytes() for path in model.iterdir()) == before
        assert not (tmp_path / "models" / "mine").exists()
        assert "there is nothing" in self.models(tmp_path, "rm", model).stdout
        assert "comes with Barevision" in self.models(tmp_path, "rm", "roadsigns").stderr

    def test_checking_prints_what_was_expected_and_found(self, tmp_path: Path) -> None:
        result = self.models(tmp_path, "check", "roadsigns")
        assert result.exit_code == 0
        assert (result.stdout.count("expected "), result.stdout.count("found  ")) == (6, 6)
        answer = json.loads(self.models(tmp_path, "check", "roadsigns", "--json").stdout)
        assert answer["right"]
        assert [item["label"] for item in answer["found"]] == [item["label"] for item in answer["expected"]]

    def test_a_wrong_answer_is_shown_and_is_a_failure(self, tmp_path: Path, model: Path, photo: np.ndarray) -> None:
        (model / "golden.jpg").write_bytes(encode_image(photo, ".jpg"))
        box = {"boxes": [1, 2, 3, 4], "color": [1, 2, 3], "label": "cat", "confidence": 0.9}
        (model / "golden.json").write_text(json.dumps([box]))
        result = self.models(tmp_path, "check", model, "--json")
        assert result.exit_code == 1
        assert json.loads(result.stdout)["right"] is False
        assert "missing: cat 0.900 at [1, 2, 3, 4]" in result.stderr
