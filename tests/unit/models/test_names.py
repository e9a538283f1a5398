"""Names of classes: as metadata has them, and as files beside a network do."""

from __future__ import annotations

from pathlib import Path

import pytest

from barevision.errors import ModelError
from barevision.models.names import names_beside, names_in_text, read_names

_NAMES = ["cat", "guide dog", "it's"]


@pytest.mark.parametrize(
    "text",
    [
        "{0: 'cat', 1: 'guide dog', 2: \"it's\"}",
        "{'0': 'cat', '1': 'guide dog', '2': \"it's\"}",
        '{"0": "cat", "1": "guide dog", "2": "it\'s"}',
        '{"2": "it\'s", "0": "cat", "1": "guide dog"}',
        '["cat", "guide dog", "it\'s"]',
        "['cat', 'guide dog', \"it's\"]",
        "('cat', 'guide dog', \"it's\")",
        '\n [ "cat",\n "guide dog", "it\'s" ] ',
    ],
)
def test_names_may_be_spelt_as_in_python_or_json(text: str) -> None:
    assert names_in_text(text) == _NAMES


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{0: 7, 1: 8.5, 2: 'nine'}", ["7", "8.5", "nine"]),
        ("[0, 1]", ["0", "1"]),
        ("{0: False, 1: True}", ["False", "True"]),
        ('["\\u00e4\\ud83d\\ude00"]', ["ä😀"]),
        ("['caf\\xe9']", ["café"]),
    ],
)
def test_names_may_be_numbers_and_have_any_letters(text: str, names: list[str]) -> None:
    assert names_in_text(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cat",
        "{}",
        "[]",
        "{1: 'cat', 2: 'dog'}",
        "{0: 'cat', 'dog': 1}",
        "{'cat', 'dog'}",
        "[['cat']]",
        "[None]",
        "5",
    ],
)
def test_what_has_no_name_for_each_class_has_no_names(text: str) -> None:
    assert names_in_text(text) is None


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("best.names", "cat\nguide dog\nit's\n"),
        ("best.txt", "\ufeffcat\r\nguide dog \r\n\r\nit's"),
        ("data.yaml", "train: images\nnc: 3\nnames: [cat, guide dog, it's]\n"),
        ("data.YML", "names:\n  0: cat\n  1: guide dog\n  2: it's\n"),
    ],
)
def test_names_in_a_file(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text, encoding="utf-8", newline="")
    assert read_names(tmp_path / file) == _NAMES


def test_names_in_yaml_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text("names: {0: yes, 1: no, 2: 007, 3: null}")
    assert read_names(path) == ["yes", "no", "007", "null"]


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("best.names", b"\n \n", r"best\.names has no names, expected one a line"),
        ("best.names", "caf\xe9".encode("latin-1"), "not UTF-8 text .* save it as UTF-8"),
        ("best.txt", b"a" * (2**20 + 1), "has 1048577 bytes, names of classes take 1048576 at most"),
        ("args.yaml", b"task: detect", "has no names, expected a list 'names'"),
        ("data.yaml", b"names: {1: cat}", "has no names"),
        ("data.yaml", b"names: [", "has no names"),
        ("data.yaml", b"[" * 100_000, "has no names"),
        ("data.yaml", b"!!python/object/apply:os.abort []", "has no names"),
    ],
)
def test_a_file_without_names_is_refused(tmp_path: Path, file: str, content: bytes, words: str) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ModelError, match=words):
        read_names(tmp_path / file)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["best.names", "best.txt", "data.yaml"], "best.names"),
        (["other.names", "best.txt"], "best.txt"),
        (["coco.names", "readme.txt", "args.yaml"], "coco.names"),
        (["a.names", "b.names", "classes.txt"], "classes.txt"),
        (["README.roboflow.txt", "data.yaml"], "data.yaml"),
        (["BEST.Names", "other.names"], "BEST.Names"),
        (["a.txt", "b.txt", "coco.yaml"], "coco.yaml"),
        (["a.txt", "b.txt"], None),
        (["best.json"], None),
        ([], None),
    ],
)
def test_the_file_that_is_called_like_the_network_comes_first(
    tmp_path: Path, files: list[str], found: str | None
) -> None:
    for name in ("best.onnx", *files):
        (tmp_path / name).touch()
    path = names_beside(tmp_path / "best.onnx")
    assert (path and path.name) == found
