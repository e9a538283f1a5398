"""The one type of a detection: its JSON, and how answers are compared."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from barevision.objects import Detection, differences, parse_detections

DOG = Detection((10, -20, 30, 40), (1, 2, 255), "dog", 0.9)


def test_json_has_the_tutorials_names_and_comes_back() -> None:
    text = json.dumps([DOG.to_json()])
    assert text == '[{"boxes": [10, -20, 30, 40], "color": [1, 2, 255], "label": "dog", "confidence": 0.9}]'
    assert parse_detections(text) == parse_detections(text.encode()) == [DOG]
    assert parse_detections("[]") == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "Invalid JSON: EOF"),
        (b"[", "Invalid JSON: EOF"),
        (b'["\xff"]', "Invalid JSON: invalid unicode"),
        (b"null", "valid array"),
        (b"{}", "valid array"),
        (b'"[]"', "valid array"),
        (b"[1]", r"^0: Input should be an object"),
        (b"[[]]", r"^0: Input should be an object"),
    ],
)
def test_what_is_not_a_list_of_objects_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_detections(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("boxes", [1, 2, 3]),
        ("boxes", [1, 2, 3, 4, 5]),
        ("boxes", [1, 2, 3, "4"]),
        ("boxes", [1, 2, 3, 4.5]),
        ("boxes", None),
        ("color", [1, 2]),
        ("color", 1),
        ("label", 7),
        ("confidence", "0.9"),
        ("confidence", True),
        ("confidence", 1.1),
        ("confidence", -0.1),
        ("confidence", float("nan")),
        ("confidence", float("inf")),
    ],
)
def test_a_field_of_another_form_is_refused_with_its_place(field: str, value: object) -> None:
    text = json.dumps([DOG.to_json(), {**DOG.to_json(), field: value}])
    with pytest.raises(ValueError, match=rf"^1\.{field}[.:]"):
        parse_detections(text)


@pytest.mark.parametrize("field", ["boxes", "color", "label", "confidence"])
def test_no_field_may_be_missing(field: str) -> None:
    incomplete = {name: value for name, value in DOG.to_json().items() if name != field}
    with pytest.raises(ValueError, match=rf"^0\.{field}: Field required"):
        parse_detections(json.dumps([incomplete]))


def test_differences_name_what_is_missing_and_what_is_extra() -> None:
    dog = Detection((10, 20, 30, 40), (1, 2, 3), "dog", 0.9)
    moved = replace(dog, box=(12, 18, 30, 40), confidence=0.904)
    assert differences([dog], [moved], pixels=2, confidence=0.005) == []
    assert len(differences([dog], [moved], pixels=1, confidence=0.005)) == 2
    assert len(differences([dog], [moved], pixels=2, confidence=0.003)) == 2
    assert differences([dog], []) == ["missing: dog 0.900 at [10, 20, 30, 40] in [1, 2, 3]"]
    assert differences([], [dog]) == ["unexpected: dog 0.900 at [10, 20, 30, 40] in [1, 2, 3]"]
    assert differences([dog], [dog, dog]) == ["unexpected: dog 0.900 at [10, 20, 30, 40] in [1, 2, 3]"]
    assert len(differences([dog], [replace(dog, label="cat")])) == 2
    assert len(differences([dog], [replace(dog, color=(1, 2, 4))])) == 2
