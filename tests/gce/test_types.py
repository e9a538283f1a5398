"""What `-e name=value` hands over is a text: the role asks Google for the same as with the type of a file.

What is marked long runs in `make gce-rehearsal` only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.gce.standin.compute import Compute
from tests.gce.user import User, words
from tests.roles.rendering import read_yaml

long = pytest.mark.long
OPTIONS = read_yaml("roles", "gce_instance", "meta", "argument_specs.yml")["argument_specs"]["main"]["options"]
# Of each variable that is no text: values as a file has them.
TYPED = [
    {
        "gce_instance_count": 2,
        "gce_instance_disk_gb": 30,
        "gce_instance_spot": True,
        "gce_instance_os_login": True,
        "gce_instance_secure_boot": False,
        "gce_instance_may_stop": True,
        "gce_instance_may_delete": True,
        "gce_instance_timeout": 60,
        "gce_instance_ssh_sources": ["192.0.2.0/24", "198.51.100.0/24"],
        "gce_instance_http_sources": ["2001:db8::/32"],
        "gce_instance_flask_sources": ["203.0.113.7/32"],
        "gce_instance_labels": {"year": 2026, "prod": True, "empty": None},
        "gce_instance_tags": ["blue", "green"],
        "gce_instance_metadata": {"serial-port-enable": True, "number": 7, "text": "a"},
    },
    {
        "gce_instance_count": 1,
        "gce_instance_disk_gb": 10,
        "gce_instance_spot": False,
        "gce_instance_os_login": False,
        "gce_instance_secure_boot": True,
        "gce_instance_may_stop": False,
        "gce_instance_may_delete": False,
        "gce_instance_timeout": 300,
        "gce_instance_ssh_sources": ["192.0.2.0/24"],
        "gce_instance_http_sources": [],
        "gce_instance_flask_sources": [],
        "gce_instance_labels": {},
        "gce_instance_tags": [],
        "gce_instance_metadata": {},
    },
]


def calls(compute: Compute, user: User, *arguments: str, **variables: Any) -> list[tuple[str, Any]]:
    """What gce.yml asks for in an empty project, with every body."""
    compute.resources.clear()
    compute.calls.clear()
    user.known_hosts.unlink(missing_ok=True)
    user.gce(*arguments, **variables)
    assert compute.changes
    return [(str(call), call.body) for call in compute.calls if call.verb != "GET" and "/operations/" not in call.path]


def as_in_a_shell(value: Any) -> str:
    """A list with commas, a truth as a word, a dictionary as JSON."""
    if isinstance(value, list):
        return ",".join(value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else json.dumps(value)


@pytest.mark.parametrize(
    ("typed", "as_text"), [(TYPED[0], json.dumps), (TYPED[1], as_in_a_shell)], ids=["JSON", "words"]
)
def test_a_text_counts_as_its_value(
    compute: Compute, user: User, typed: dict[str, Any], as_text: Callable[[Any], str]
) -> None:
    assert typed.keys() == {name for name, option in OPTIONS.items() if option["type"] not in ("str", "path")}
    texts = [part for name, value in typed.items() for part in ("-e", f"{name}='{as_text(value)}'")]
    assert calls(compute, user, *texts) == calls(compute, user, **typed)


@long
def test_a_dictionary_may_be_written_as_pairs(compute: Compute, user: User) -> None:
    pairs = (
        "-e",
        "gce_instance_labels='year=2026, team=blue'",
        "-e",
        "gce_instance_metadata='serial-port-enable=TRUE'",
    )
    typed = {
        "gce_instance_labels": {"year": 2026, "team": "blue"},
        "gce_instance_metadata": {"serial-port-enable": True},
    }
    assert calls(compute, user, *pairs) == calls(compute, user, **typed)


@long
@pytest.mark.parametrize(
    ("permission", "change", "call"),
    [
        (
            "gce_instance_may_stop",
            {"gce_instance_machine_type": "g1-small"},
            "POST instances/barevision-1/setMachineType",
        ),
        ("gce_instance_may_delete", {"gce_instance_count": 0}, "DELETE instances/barevision-1"),
    ],
    ids=["stop", "delete"],
)
def test_a_text_that_says_no_allows_nothing(
    compute: Compute, user: User, permission: str, change: dict[str, Any], call: str
) -> None:
    user.gce()
    before = compute.changes
    with pytest.raises(AssertionError) as said:
        user.gce("-e", f"{permission}=false", **change)
    assert f"-e {permission}=true" in words(said)
    assert compute.changes == before
    user.gce("-e", f"{permission}=true", **change)
    assert call in compute.changes
