"""``barevision models``, on models of a directory of their own."""

from __future__ import annotations

import fcntl
import functools
import json
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from flask import Flask, Response

from barevision.api import create_app
from barevision.detector import load_detector
from barevision.models.catalogue import find_source
from barevision.models.source import file_sha256
from barevision.pictures.decode import encode_image
from barevision.settings import load_settings
from tests.support.command_line import run
from tests.support.darknet_files import write_model
from tests.support.onnx_files import network, write_network
from tests.support.serving import running, served


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address of an .onnx file, and its sha256."""
    path = write_network(tmp_path / "www" / "best.onnx", network(np.zeros((7, 20))))
    handler = functools.partial(SimpleHTTPRequestHandler, directory=path.parent)
    with running(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as address:
        yield f"{address}/best.onnx", file_sha256(path)


def models(tmp_path: Path, *arguments: object) -> Result:
    """`barevision models` with `arguments`, on a models directory in `tmp_path`."""
    return run("models", *arguments, "--models-dir", tmp_path / "models")


def row_of(tmp_path: Path, name: str) -> dict:
    """What `barevision models list` says of the model `name`."""
    rows = json.loads(models(tmp_path, "list", "--json").stdout)
    return next(row for row in rows if row["model"] == name)


def test_preparing_says_whether_it_changed_anything(model: Path, tmp_path: Path) -> None:
    command = ("models", "prepare", model, "--models-dir", tmp_path / "models", "--json")
    first, second = (json.loads(run(*command).stdout) for _ in range(2))
    assert (first["changed"], second["changed"]) == (True, False)
    assert Path(first["path"]).is_file()
    assert first["memory_bytes"] > 100e6


def test_preparing_measures_once_and_says_what_it_chose(model: Path, tmp_path: Path) -> None:
    first = models(tmp_path, "prepare", model)
    assert "onnxruntime f32     1 x 1" in first.stderr
    assert first.stdout.splitlines()[0].startswith("onnxruntime f32     1 x 1")
    assert "It runs with onnxruntime f32, one at a time on 1 core: " in first.stdout
    second = models(tmp_path, "prepare", model)
    assert second.stderr == ""
    assert second.stdout.splitlines()[0] == first.stdout.splitlines()[0]
    assert models(tmp_path, "prepare", model, "--again").stderr != ""


def test_answers_are_compared_on_the_users_own_pictures(model: Path, tmp_path: Path, pictures: Path) -> None:
    answer = json.loads(models(tmp_path, "prepare", model, "--pictures", pictures, "--json").stdout)
    (trial,) = answer["trials"]
    assert trial["agreement"]["boxes"] == trial["agreement"]["matched"]
    assert (answer["choice"]["plan"], answer["seconds"]) == (trial["plan"], answer["choice"]["alone"])
    assert "has no pictures" in models(tmp_path, "prepare", model, "--pictures", model).stderr
    (pictures / "broken.png").write_bytes(b"no picture")
    assert "this is no picture" in models(tmp_path, "prepare", model, "--pictures", pictures).stderr


def test_preparing_for_integers_needs_a_quantized_model(model: Path, tmp_path: Path) -> None:
    result = run("models", "prepare", model, "--models-dir", tmp_path / "models", BAREVISION_PRECISION="int8")
    assert result.exit_code == 1
    assert "mine is not quantized, so it can't compute with int8" in result.stderr


def test_models_are_listed_with_what_they_take() -> None:
    rows = json.loads(run("models", "list", "--json").stdout)
    assert [row["model"] for row in rows][:2] == ["roadsigns", "yolov3"]
    assert "MiB" in run("models", "list").stdout
    assert json.loads(run("models", "requirements", "yolov3", "--json").stdout).items() <= rows[1].items()
    smaller = run("models", "requirements", "yolov3", "--json", BAREVISION_MAX_PIXELS="1000000")
    larger = run("models", "requirements", "yolov3", "--json", BAREVISION_MAX_PIXELS="100000000")
    memory = [json.loads(result.stdout)["memory_bytes"] for result in (smaller, larger)]
    assert memory[0] < rows[1]["memory_bytes"] - 900e6 < memory[1] - 1800e6


def test_a_model_from_an_address_is_remembered_by_name(tmp_path: Path, site: tuple[str, str]) -> None:
    url, digest = site
    refused = models(tmp_path, "pull", url)
    assert "its sha256 is not known" in refused.stderr
    assert "0" * 64 in models(tmp_path, "pull", url, "--sha256", "0" * 64).stderr
    assert not list((tmp_path / "models").rglob("*.onnx"))

    result = models(tmp_path, "pull", url, "--sha256", digest.upper(), "--name", "signs", "--json")
    assert json.loads(result.stdout)["model"] == "signs"
    assert row_of(tmp_path, "signs")["downloaded"]
    assert not row_of(tmp_path, "signs")["prepared"]
    prepared = json.loads(models(tmp_path, "prepare", "signs", "--json").stdout)
    assert (prepared["changed"], prepared["seconds"] > 0) == (True, True)
    row = row_of(tmp_path, "signs")
    assert (row["prepared"], row["seconds"]) == (True, prepared["seconds"])

    removed = json.loads(models(tmp_path, "rm", "signs", "--json").stdout)["removed"]
    assert str(tmp_path / "models" / "signs" / "signs.onnx") in removed
    assert "unknown model 'signs'" in models(tmp_path, "prepare", "signs").stderr


def test_what_is_being_fetched_is_not_removed(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "yolov3"
    folder.mkdir(parents=True)
    (folder / "yolov3.weights.part").write_bytes(b"half")
    with (folder / ".yolov3.weights.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "is being fetched by another process" in models(tmp_path, "rm", "yolov3").stderr
    assert "removed" in models(tmp_path, "rm", "yolov3").stdout
    assert not folder.exists()


@pytest.mark.parametrize("name", ["signs", "yolov4-csp"])
def test_what_was_remembered_of_a_model_may_be_damaged(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "models" / name
    folder.mkdir(parents=True)
    (folder / "source.json").write_text("{")
    listed = models(tmp_path, "list")
    assert listed.exit_code == 0
    assert "roadsigns" in listed.stdout
    assert listed.stderr.count(f"{name} is damaged: 'barevision models rm {name}'") == 1
    assert "one of signs, roadsigns" in models(tmp_path, "prepare", "sings").stderr or name != "signs"
    assert "source.json can't be read" in models(tmp_path, "prepare", name).stderr
    assert f"removed {folder / 'source.json'}" in models(tmp_path, "rm", name).stdout
    assert not folder.exists()
    assert "is damaged" not in models(tmp_path, "list").stderr


def test_a_reference_with_its_hash_needs_no_pull(tmp_path: Path, site: tuple[str, str]) -> None:
    url, digest = site
    assert models(tmp_path, "prepare", f"{url}#sha256={digest}").exit_code == 0
    assert models(tmp_path, "prepare", url).exit_code == 0


@pytest.mark.parametrize("name", ["", "../x", "yolov3", "a b", "-x", "a" * 65])
def test_a_name_that_is_taken_or_can_be_no_folders_is_refused(tmp_path: Path, name: str) -> None:
    result = models(tmp_path, "pull", "https://localhost/best.onnx", "--sha256", "0" * 64, "--name", name)
    assert result.exit_code == 1
    assert f"a model from an address can't be called {name!r}" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_own_files_and_the_embedded_model_are_not_removed(tmp_path: Path, model: Path) -> None:
    before = sorted(path.read_bytes() for path in model.iterdir())
    assert models(tmp_path, "prepare", model).exit_code == 0
    result = models(tmp_path, "rm", model)
    assert result.stdout.count("removed ") == 3
    assert sorted(path.read_bytes() for path in model.iterdir()) == before
    assert not (tmp_path / "models" / "mine").exists()
    assert "there is nothing" in models(tmp_path, "rm", model).stdout
    assert "comes with Barevision" in models(tmp_path, "rm", "roadsigns").stderr


def test_checking_prints_what_was_expected_and_found(tmp_path: Path) -> None:
    result = models(tmp_path, "check", "roadsigns")
    assert result.exit_code == 0
    assert (result.stdout.count("expected "), result.stdout.count("found  ")) == (6, 6)
    answer = json.loads(models(tmp_path, "check", "roadsigns", "--json").stdout)
    assert answer["right"]
    assert [item["label"] for item in answer["found"]] == [item["label"] for item in answer["expected"]]


def test_a_wrong_answer_is_shown_and_is_a_failure(tmp_path: Path, model: Path, photo: np.ndarray) -> None:
    (model / "golden.jpg").write_bytes(encode_image(photo, ".jpg"))
    box = {"boxes": [1, 2, 3, 4], "color": [1, 2, 3], "label": "cat", "confidence": 0.9}
    (model / "golden.json").write_text(json.dumps([box]))
    result = models(tmp_path, "check", model, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["right"] is False
    assert "missing: cat 0.900 at [1, 2, 3, 4]" in result.stderr


def test_a_services_answer_is_checked(url: str) -> None:
    result = run("models", "check", "roadsigns", "--url", url)
    assert result.exit_code == 0
    boxes = len(find_source("roadsigns").golden.expected)
    assert result.stdout.endswith(f"the golden image's {boxes} boxes were found\n")


def test_a_model_without_a_golden_image_is_checked_for_form(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    settings = load_settings(model=str(folder), models_dir=tmp_path / "models")
    with served(create_app(load_detector(settings))) as url:
        result = run("models", "check", folder, "--url", url)
    assert (result.exit_code, result.stdout) == (0, f"{folder} has no golden image; {url} answered a drawn picture\n")


@pytest.mark.parametrize("info", ["{}", '{"model": null}', '{"model": "x"}', '{"model": [1]}', "null"])
def test_a_service_that_names_no_model_is_an_error(info: str) -> None:
    app = Flask("other")
    app.add_url_rule("/info", view_func=lambda: Response(info, content_type="application/json"))
    with served(app) as address:
        result = run("models", "check", "roadsigns", "--url", address)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {address}/info ")
    assert result.stderr.endswith("is this a Barevision service?\n")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("MAX_PIXELS", "allowed are 2000"),
        ("MAX_SIDE", "allowed are 2000 a side"),
        ("MAX_BYTES", "bytes, allowed are 2000"),
    ],
)
def test_settings_that_refuse_the_golden_image_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, words: str
) -> None:
    """A deployment's last test would be answered 413."""
    limit = 2000 if setting != "MAX_SIDE" else 600
    monkeypatch.setenv(f"BAREVISION_{setting}", str(limit))
    result = models(tmp_path, "check", "roadsigns")
    assert result.exit_code == 1
    assert "Error: the settings refuse the golden image" in result.stderr
    assert words.replace("2000", str(limit)) in result.stderr


@pytest.mark.parametrize("reference", ["mine", "roadsigns@256"])
def test_another_models_answer_is_an_error(url: str, tmp_path: Path, reference: str) -> None:
    model = write_model(tmp_path / "mine") if reference == "mine" else reference
    result = run("models", "check", model, "--url", url)
    assert result.exit_code == 1
    assert f"Error: {url} serves {{'name': 'roadsigns'" in result.stderr
