"""Dictionaries that were given as text."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from plugins.filter.as_dict import as_dict


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1}, {"a": 1}),
        ('{"a": "1", "b": "2"}', {"a": "1", "b": "2"}),
        ("a=1,b=2", {"a": "1", "b": "2"}),
    ],
)
def test_a_dictionary(value: Any, expected: dict) -> None:
    assert as_dict(value) == expected


@pytest.mark.parametrize("value", ["a", ["a"]])
def test_what_can_be_none_is_named(value: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="is no dictionary"):
        as_dict(value)
