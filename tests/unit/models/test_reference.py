"""The grammar WHAT[@SIZE][#sha256=HASH]."""

from __future__ import annotations

from pathlib import Path

import pytest

from barevision.errors import ModelError
from barevision.models.reference import Reference, parse_reference

HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("yolov3", Reference("yolov3")),
        ("yolov3@608", Reference("yolov3", (608, 608))),
        ("yolov3@640x384", Reference("yolov3", (384, 640))),
        (f"yolov4-csp#sha256={HASH.upper()}", Reference("yolov4-csp", None, HASH)),
        (f"yolov4-csp@512#sha256={HASH}", Reference("yolov4-csp", (512, 512), HASH)),
        (f"yolov4-csp#sha256={HASH}#sha256={HASH.upper()}", Reference("yolov4-csp", None, HASH)),
        ("photos@home/mine", Reference("photos@home/mine")),
        ("https://example.org/best.onnx@640", Reference("https://example.org/best.onnx", (640, 640))),
        ("https://somebody@example.org/best.onnx", Reference("https://somebody@example.org/best.onnx")),
        ("https://example.org/best@home.onnx", Reference("https://example.org/best@home.onnx")),
    ],
)
def test_a_reference_is_taken_apart(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference


def test_what_has_exactly_this_name_on_the_disk_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine@64").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in (f"{tmp_path}/mine@64", "~/mine@64"):
        assert parse_reference(text) == Reference(text)
        assert parse_reference(f"{text}@128") == Reference(text, (128, 128))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("yolov3@", "'' in 'yolov3@' is not a size"),
        ("yolov3@big", "expected one like yolov3@608 or yolov3@640x384"),
        ("yolov3@608x", "is not a size"),
        ("yolov3@0", "out of range, allowed are 1 to 4096"),
        ("yolov3@5000", "out of range"),
        ("yolov3#sha256=abc", "'abc' is not a sha256"),
        ("yolov3#sha256=", "'' is not a sha256"),
        (f"yolov3#sha256={HASH}#sha256={HASH[::-1]}", f"yolov3 is given 2 sha256, {HASH} and {HASH[::-1]}; leave out"),
        (f"yolov3#sha256={HASH}#sha256=abc", "'abc' is not a sha256"),
    ],
)
def test_a_size_or_hash_that_is_not_one_is_refused(text: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        parse_reference(text)


def test_an_address_is_told_from_names_and_paths() -> None:
    addresses = {"https://x/a.onnx": True, "HTTP://x/a.onnx": True, "yolov3": False, "/https://x": False}
    assert {what: Reference(what).is_url for what in addresses} == addresses
