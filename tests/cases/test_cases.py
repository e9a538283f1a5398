"""Inputs that users of such services had trouble with, made after their public reports.

The inputs are in a folder beside the assets, which is not part of the repository. What is tried here is whether each
gives what its user expected; the tests of each module hold the whole kind, with inputs of our own.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import requests
from click.testing import CliRunner

from barevision.cli import main
from barevision.models.catalogue import find_source
from barevision.objects import Detection, differences
from barevision.pictures.decode import decode_image
from tests.support.answers import detections
from tests.support.assets import ASSETS

GOLDEN = find_source("roadsigns").golden


@pytest.fixture(scope="module")
def cases() -> Path:
    folder = ASSETS.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"no inputs of users in {folder}")
    return folder


def dog(x: int, y: int, width: int, height: int, confidence: float) -> Detection:
    return Detection((x, y, width, height), (0, 0, 0), "dog", confidence)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("01-rtdetr-rows-of-six/best.onnx", dog(36, 20, 24, 24, 0.875)),
        ("03-half-precision-cast-last/best.onnx", dog(36, 15, 24, 36, 0.875)),
        ("04-answer-shape-not-written/best.onnx", dog(36, 15, 24, 36, 0.875)),
        ("06-yolov5-four-outputs/best.onnx", dog(36, 15, 24, 36, 0.875)),
        ("08-no-names-but-a-names-file/net", dog(36, 15, 24, 36, 0.875)),
        ("09-variance-a-hair-below-zero/net", dog(-11, -11, 24, 24, 0.907)),
        ("10-shortcut-from-more-channels/net", dog(12, 15, 26, 26, 0.8985)),
        ("12-options-of-training/net", dog(-11, -11, 24, 24, 0.907)),
        ("14-squeeze-and-excite/net", dog(25, 0, 24, 23, 0.9116)),
        ("16-letter-box/net", dog(36, 14, 24, 36, 0.907)),
    ],
)
def test_a_model_finds_its_dog(cases: Path, monkeypatch: pytest.MonkeyPatch, model: str, expected: Detection) -> None:
    monkeypatch.chdir((cases / model).parent)
    arguments = ["predict", "reference.png", "--model", f"./{Path(model).name}", "--json", "--limit", "1"]
    run = CliRunner().invoke(main, arguments)
    assert run.exit_code == 0, run.output
    (found,) = detections(json.loads(run.stdout))
    # No colours are given with these inputs.
    expected = replace(expected, color=found.color)
    assert differences([expected], [found], pixels=2, confidence=0.001) == []


@pytest.mark.parametrize(
    ("picture", "furthest"),
    [
        ("19-tiff-in-planes-of-16-bits/planar-16.tif", 0),
        ("19-tiff-in-planes-of-16-bits/planar-8.tif", 0),
        ("19-tiff-in-planes-of-16-bits/interleaved-16.tif", 0),
        ("21-gif-background-out-of-palette/background-out-of-palette.gif", 8),
    ],
)
def test_a_picture_is_read_as_its_reference(cases: Path, picture: str, furthest: float) -> None:
    path = cases / picture
    reference = path.with_name("reference.png")
    image, expected = (decode_image(file.read_bytes(), 10**6).astype(int) for file in (path, reference))
    assert np.abs(image - expected).mean() <= furthest


def test_a_jpeg_without_its_end_mark_is_read_as_the_whole_one(cases: Path) -> None:
    folder = cases / "17-jpeg-without-its-last-two-bytes"
    image, expected = (decode_image((folder / name).read_bytes(), 10**6) for name in ("no-eoi.jpg", "reference.jpg"))
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("target", ["best.pt", "run"])
def test_weights_of_pytorch_are_refused_with_the_way_to_convert_them(
    cases: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.chdir(cases / "30-best-pt")
    run = CliRunner().invoke(main, ["models", "prepare", f"./{target}"])
    assert run.exit_code == 1
    assert "yolo export model=best.pt format=onnx" in run.stderr.replace("./", "").replace("run/", "")


def test_a_heic_is_refused_with_the_way_out(cases: Path, url: str) -> None:
    picture = (cases / "32-heic-from-a-phone" / "header-only.heic").read_bytes()
    response = requests.post(f"{url}/predict", data=picture, timeout=60)
    assert response.status_code == 400
    assert "HEIC" in response.json()["detail"]
    assert "Most Compatible" in response.json()["detail"]


def form(file_name: bytes) -> bytes:
    disposition = b'Content-Disposition: form-data; name="image"; filename="' + file_name + b'"'
    return b"\r\n".join([b"--B", disposition, b"Content-Type: image/jpeg", b"", GOLDEN.picture, b"--B--", b""])


@pytest.mark.parametrize("file_name", [b"Ofsl\xfatdyk.jpg", "照片.jpg".encode("gbk"), "ofslútdyk.jpg".encode()])
@pytest.mark.parametrize("path", ["/predict", "/v1/vision/detection"])
def test_a_file_may_have_a_name_in_any_encoding(url: str, path: str, file_name: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    response = requests.post(url + path, data=form(file_name), headers=headers, timeout=60)
    assert response.status_code == 200, response.text
    objects = response.json() if path == "/predict" else response.json()["predictions"]
    assert len(objects) == len(GOLDEN.expected)


def test_parameters_may_stand_in_the_form(url: str) -> None:
    fields = {"confidence": "0.999"}
    answers = [
        requests.post(f"{url}/predict", files={"image": GOLDEN.picture}, data=fields, timeout=60),
        requests.post(f"{url}/predict", files={"image": GOLDEN.picture}, params=fields, timeout=60),
    ]
    assert [len(answer.json()) for answer in answers] == [1, 1]


def test_a_form_may_lack_its_boundary_in_the_type(url: str) -> None:
    response = requests.post(
        f"{url}/predict", data=form(b"a.jpg"), headers={"Content-Type": "multipart/form-data"}, timeout=60
    )
    assert response.status_code == 200, response.text
    assert len(response.json()) == len(GOLDEN.expected)
