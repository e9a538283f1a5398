"""Lists that were given as text."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from plugins.filter.as_list import as_list


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, "a,b"], [1, "a,b"]),
        ([], []),
        ("127.0.0.1", ["127.0.0.1"]),
        ("127.0.0.1,::1, 10.0.0.0/8", ["127.0.0.1", "::1", "10.0.0.0/8"]),
        ("", []),
        ('["a", "b"]', ["a", "b"]),
        (' [{"name": "a"}]', [{"name": "a"}]),
        ("['a', 'b']", ["a", "b"]),
        ("[::/0, 10.0.0.0/8]", ["::/0", "10.0.0.0/8"]),
        ("[]", []),
        ("http://[::1]", ["http://[::1]"]),
        (None, []),
        (7, ["7"]),
    ],
)
def test_a_list(value: Any, expected: list) -> None:
    assert as_list(value) == expected


@pytest.mark.parametrize("value", ["[1", {}])
def test_what_can_be_none_is_named(value: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="is no list"):
        as_list(value)
